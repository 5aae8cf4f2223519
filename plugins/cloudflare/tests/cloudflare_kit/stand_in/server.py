"""The stand-in's metrics server, and under /control the wire on which a test gives orders.

By hand, since importing `http.server` would take half of the stand-in's time.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

_LARGEST = 65536


class MetricsServer:
    """`get` answers a path, or None for 404; `order` obeys one, and returns when it is done."""

    def __init__(
        self,
        port: int,
        get: Callable[[str], tuple[int, str] | None],
        order: Callable[[str, str], None],
    ) -> None:
        self._get = get
        self._order = order
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            head, body = _read(client)
            method, path, _ = head.split(" ", 2)
            if method == "POST":
                self._order(path.rpartition("/")[2], body)
                status, text = 200, "done"
            else:
                status, text = self._get(path) or (404, "404 page not found")
            kind = "Content-Type: text/plain; charset=utf-8"
            client.sendall(f"HTTP/1.0 {status} X\r\n{kind}\r\n\r\n{text}".encode())


def _read(client: socket.socket) -> tuple[str, str]:
    """The head and the body of a request; its length is in the last line of the head."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(_LARGEST) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    name, _, length = head.decode().rpartition("\r\n")[2].partition(": ")
    while name == "Content-Length" and len(body) < int(length):
        body += client.recv(_LARGEST)
    return head.decode(), body.decode()
