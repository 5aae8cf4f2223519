"""The stand-in's metrics server, and under /control the wire on which a test gives orders."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Ask = Callable[[str, str], "str | None"]


class MetricsServer:
    """`get` answers a path, or None for 404; `order` obeys one, and returns when it is done."""

    def __init__(
        self,
        port: int,
        get: Callable[[str], tuple[int, str] | None],
        order: Callable[[str, str], None],
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(get(self.path) or (404, "404 page not found"))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                order(self.path.rpartition("/")[2], body)
                self._reply((200, "done"))

            def _reply(self, answer: tuple[int, str]) -> None:
                status, body = answer
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: object) -> None:
                """The real one logs nothing either."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
