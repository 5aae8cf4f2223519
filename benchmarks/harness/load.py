"""Bytes and requests through a port, over any number of connections: lighter than what it loads."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from typing import Self

CHUNK = b"x" * 65536
REQUEST = b"r" * 128
_SINK, _ECHO = b"s", b"e"


class Load:
    """`with Load() as load`: a target at `load.port`, and what is sent to it through a tunnel."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.received = 0
        self._ended = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join(5)
        self._listener.close()

    def throughput(self, port: int, connections: int, seconds: float) -> float:
        """MiB a second that arrive at the target, once all connections are up."""
        with _Connections(port, connections, _SINK) as opened:
            opened.write_for(seconds / 4)
            before, begun = self.received, time.perf_counter()
            opened.write_for(seconds)
            speed = (self.received - before) / 2**20 / (time.perf_counter() - begun)
            self._settle(opened.sent)
        return speed

    def latency(self, port: int, connections: int, seconds: float) -> float:
        """Seconds for a request and its echo, all connections asking at once; the median."""
        with _Connections(port, connections, _ECHO) as opened:
            opened.ask_for(seconds / 4)
            delays = sorted(opened.ask_for(seconds))
            self.received = 0
            return delays[len(delays) // 2]

    def _settle(self, sent: int) -> None:
        """What still lies in the tunnel's buffers shall not disturb what is measured next."""
        deadline = time.monotonic() + 20
        while self.received < sent and time.monotonic() < deadline:
            time.sleep(0.01)
        self.received = 0

    def _serve(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ, None)
        buffer = bytearray(1 << 20)
        while not self._ended:
            for key, _ in selector.select(0.1):
                if key.fileobj is self._listener:
                    accepted, _ = self._listener.accept()
                    selector.register(accepted, selectors.EVENT_READ, [b""])
                    continue
                client = key.fileobj
                assert isinstance(client, socket.socket)
                try:
                    count = client.recv_into(buffer)
                except OSError:
                    count = 0
                if not count:
                    selector.unregister(client)
                    client.close()
                    continue
                self.received += count
                kind = key.data
                kind[0] = kind[0] or bytes(buffer[:1])
                if kind[0] == _ECHO:
                    client.sendall(buffer[:count])


class _Connections:
    def __init__(self, port: int, count: int, kind: bytes) -> None:
        self._kind = kind
        self.sent = 0
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        self._selector = selectors.DefaultSelector()
        for each in self._sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()
        self._selector.close()

    def write_for(self, seconds: float) -> None:
        chunk = self._kind * len(CHUNK)
        if not self._selector.get_map():
            for each in self._sockets:
                each.setblocking(False)
                self._selector.register(each, selectors.EVENT_WRITE)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for key, _ in self._selector.select(0.05):
                assert isinstance(key.fileobj, socket.socket)
                try:
                    self.sent += key.fileobj.send(chunk)
                except BlockingIOError:
                    continue

    def ask_for(self, seconds: float) -> list[float]:
        request = self._kind * len(REQUEST)
        asked: dict[socket.socket, float] = {}
        missing = dict.fromkeys(self._sockets, 0)
        known = bool(self._selector.get_map())
        for each in self._sockets:
            if not known:
                self._selector.register(each, selectors.EVENT_READ)
            asked[each] = time.perf_counter()
            missing[each] = len(request)
            each.sendall(request)
        delays: list[float] = []
        end = time.perf_counter() + seconds
        waiting = len(self._sockets)
        while waiting:
            ready = self._selector.select(5)
            if not ready:
                raise RuntimeError("an echo is missing")
            for key, _ in ready:
                asker = key.fileobj
                assert isinstance(asker, socket.socket)
                missing[asker] -= len(asker.recv(len(request)))
                if missing[asker]:
                    continue
                now = time.perf_counter()
                delays.append(now - asked[asker])
                if now < end:
                    asked[asker], missing[asker] = now, len(request)
                    asker.sendall(request)
                else:
                    waiting -= 1
        return delays
