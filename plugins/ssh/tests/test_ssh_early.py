"""Bytes that arrive before their destination exists are delivered, never dropped silently.

CPython before 3.11.4 reads on after a pause in `connection_made`. The fixture `eager` makes every
Python do that.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio import selector_events
from typing import Any

import pytest
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.connect import connect
from prx_tunnel_ssh.forwarding import End, Forwards, SocketEnd
from ssh_programs import PATIENCE, App, listening

anyio = pytest.mark.anyio


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers are added after `connection_made`, paused or not."""

    def add_reader(transport: Any, fd: int, callback: Any) -> None:
        transport._loop._add_reader(fd, callback)

    kind = selector_events._SelectorTransport  # type: ignore[attr-defined]
    monkeypatch.setattr(kind, "_add_reader", add_reader, raising=False)


class FakeWire:
    """A transport or channel that notes what is done to it."""

    def __init__(self, *, full_after: int = 1 << 30) -> None:
        self.sent = b""
        self.done: list[str] = []
        self.reading = True
        self.end: End | None = None
        self._full_after = full_after

    def write(self, data: bytes) -> None:
        assert "eof" not in self.done
        self.sent += data
        if self.end is not None and len(self.sent) > self._full_after:
            self.end.pause_writing()

    def write_eof(self) -> None:
        self.done.append("eof")

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return "close" in self.done or "abort" in self.done

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self  # type: ignore[return-value]

    def setsockopt(self, *_: object) -> None:
        pass


def pair(*, full_after: int = 1 << 30) -> tuple[SocketEnd, FakeWire, End, FakeWire]:
    """A visitor that is connected, and the channel for it that is not open yet."""
    ends: set[End] = set()
    visitor, channel = SocketEnd(ends), End(ends)
    channel.join(visitor)
    near, far = FakeWire(), FakeWire(full_after=full_after)
    near.end, far.end = visitor, channel
    visitor.connection_made(near)
    return visitor, near, channel, far


def open_channel(channel: End, wire: FakeWire) -> None:
    channel.connection_made(wire)
    channel.session_started()


def test_t01_early_data_and_the_early_end_are_delivered_in_order() -> None:
    visitor, near, channel, far = pair()
    assert not near.reading
    visitor.data_received(b"one ")
    visitor.data_received(b"two")
    visitor.eof_received()
    assert (near.done, far.done) == ([], [])
    open_channel(channel, far)
    assert (far.sent, far.done) == (b"one two", ["eof"])
    assert near.done == []
    channel.data_received(b"the answer")
    channel.eof_received()
    assert (near.sent, near.done) == (b"the answer", ["eof", "close"])


def test_t01_early_data_pauses_reading_again_until_the_channel_is_open() -> None:
    visitor, near, channel, far = pair()
    near.reading = True  # as in CPython 3.11.2
    visitor.data_received(b"x")
    assert not near.reading
    open_channel(channel, far)
    assert near.reading


def test_t01_a_channel_that_is_full_with_what_came_early_keeps_the_visitor_paused() -> None:
    visitor, near, channel, far = pair(full_after=2)
    visitor.data_received(b"xyz")
    open_channel(channel, far)
    assert (far.sent, near.reading) == (b"xyz", False)
    channel.resume_writing()
    assert near.reading


def test_t01_too_much_early_data_aborts_both_ends() -> None:
    visitor, near, channel, far = pair()
    for _ in range(64):
        visitor.data_received(b"x" * 65_536)
    assert "abort" in near.done
    open_channel(channel, far)
    assert far.sent == b""
    assert far.done[0] == "abort"


@pytest.mark.parametrize("lost", [None, ConnectionResetError()], ids=["closed", "reset"])
def test_t01_a_visitor_that_leaves_early(lost: Exception | None) -> None:
    visitor, _, channel, far = pair()
    visitor.data_received(b"the last words")
    visitor.connection_lost(lost)
    open_channel(channel, far)
    if lost is None:
        assert (far.sent, far.done) == (b"the last words", ["close"])
    else:
        assert (far.sent, far.done) == (b"", ["abort"])


def test_t01_ends_that_are_joined_late() -> None:
    ends: set[End] = set()
    visitor, channel = SocketEnd(ends), End(ends)
    near, far = FakeWire(), FakeWire()
    visitor.connection_made(near)
    visitor.data_received(b"early")
    visitor.eof_received()
    open_channel(channel, far)
    channel.data_received(b"early too")
    channel.join(visitor)
    assert (far.sent, far.done) == (b"early", ["eof"])
    assert (near.sent, near.done) == (b"early too", [])


@anyio
async def test_t01_a_visitor_that_sends_at_once(eager: None, app: App) -> None:
    async with asyncio.timeout(PATIENCE), connect(SshConfig(), app.target) as connection:
        for size in (0, 1, 200_000, 2_000_000):
            with socket.create_connection(("127.0.0.1", _port(connection.public_url))) as client:
                # In the kernel before the relay's loop has its next turn.
                head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                rest = head + b"x" * size
                rest = rest[client.send(rest) :]
                await loop.sock_sendall(client, rest)
                client.shutdown(socket.SHUT_WR)
                answer = b""
                while chunk := await loop.sock_recv(client, 1 << 20):
                    answer += chunk
                assert answer.endswith(b"\r\n\r\n" + b"x" * size)


@anyio
async def test_t01_a_program_that_speaks_first(
    eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its greeting and its half-close arrive before the channel of its visitor is open."""
    sent = asyncio.Event()
    questions: asyncio.Queue[bytes] = asyncio.Queue()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready")
        writer.write_eof()
        sent.set()
        await questions.put(await reader.read(-1))
        writer.close()

    session = Forwards.session

    async def late(self: Forwards, host: str, port: int) -> End:
        end = await session(self, host, port)
        await sent.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        return end

    monkeypatch.setattr(Forwards, "session", late)
    async with (
        asyncio.timeout(PATIENCE),
        listening(greet) as target,
        connect(SshConfig(), target) as connection,
    ):
        port = _port(connection.public_url)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read(-1) == b"220 ready"
        writer.write(b"thanks")
        writer.write_eof()
        assert await questions.get() == b"thanks"
        writer.close()


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
