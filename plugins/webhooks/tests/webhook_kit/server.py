"""A provider's HTTP server, and everything that can be wrong with one."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlsplit

import anyio.to_thread

PATIENCE = 20.0  # seconds: only a broken test waits this long


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Told:
    status: int
    value: object = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        if self.value is None:
            return b""
        return self.value if isinstance(self.value, bytes) else json.dumps(self.value).encode()


Fault = Callable[["_Handler", Asked], Told | None]


class ProviderServer:
    """`faults` befall one request each, in order; `fault` befalls every one while it is set."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Fault] = deque()
        self.fault: Fault | None = None
        self.closing = threading.Event()
        self._changed = threading.Condition(threading.RLock())
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    def answer(self, asked: Asked) -> Told:
        """What the provider says when nothing is wrong."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """On the same port as before, if there was one."""
        self.closing.clear()
        self._server = _Server(("127.0.0.1", self._port), partial(_Handler, self))
        self._port = int(self._server.server_address[1])
        serve = partial(self._server.serve_forever, poll_interval=0.01)
        self._thread = threading.Thread(target=serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def handle(self, handler: _Handler, asked: Asked) -> Told | None:
        with self._changed:
            self.asked.append(asked)
            fault = self.faults.popleft() if self.faults else self.fault
            told = self.answer(asked) if fault is None else None
            self._changed.notify_all()
        return told if fault is None else fault(handler, asked)

    def wait_for(self, predicate: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(predicate, PATIENCE), "it never came to be"

    async def until(self, predicate: Callable[[], object]) -> None:
        await anyio.to_thread.run_sync(self.wait_for, predicate)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them
    request_queue_size = 64

    def handle_error(self, *where: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # the other side left: as tests want
            super().handle_error(*where)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, provider: ProviderServer, *arguments: Any) -> None:
        self.provider = provider
        super().__init__(*arguments)

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        told = self.provider.handle(self, Asked(self.command, self.path, headers, body))
        if told is not None:
            self.tell(told)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do

    def tell(self, told: Told) -> None:
        self.send_response(told.status)
        for name, value in {"content-type": "application/json", **told.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(told.body)))
        self.end_headers()
        self.wfile.write(told.body)

    def log_message(self, *_: object) -> None:
        pass


def says(status: int, value: object = None, **headers: str) -> Fault:
    """An answer; `_` in the name of a header stands for `-`."""
    told = Told(status, value, {name.replace("_", "-"): text for name, text in headers.items()})
    return lambda _handler, _asked: told


def hangs(handler: _Handler, _asked: Asked) -> None:
    """Never answers, as long as the server runs."""
    handler.provider.closing.wait()


def resets(handler: _Handler, _asked: Asked) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def breaks_off(handler: _Handler, _asked: Asked) -> None:
    """Half an answer."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")


def floods(handler: _Handler, _asked: Asked) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    try:
        while not handler.provider.closing.is_set():
            handler.wfile.write(bytes(65_536))
    except OSError:
        pass  # the other side has seen enough


def garbage(handler: _Handler, _asked: Asked) -> None:
    handler.wfile.write(b"\x00\xff this is no HTTP \r\n\r\n")


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Deliver a webhook, without a proxy; gives the status and the body of the answer."""
    request = urllib.request.Request(url, body, dict(headers), method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            return int(answer.status), answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
