"""One HTTP request of a visitor, passed on through a channel, and its response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Any

import asyncssh
import h11
from h11._headers import Headers

_CHUNK = 64 * 1024
# What a visitor may send, and how long it may read, after the end.
_MOST_DROPPED = 16 * 1024 * 1024
_LAST_WORDS_SECONDS = 30.0
# What concerns one connection only, and so is not passed on (RFC 9110, section 7.6.1). Framing
# belongs to h11, which needs to see Transfer-Encoding.
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"})


class Visit:
    """One connection of a visitor."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, largest_head: int
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=largest_head)
        peer = writer.get_extra_info("peername") or ("", 0)
        self.address: tuple[str, int] = (str(peer[0]), int(peer[1]))

    async def next_request(self) -> h11.Request | None:
        """The head of the next request; None when the visitor has gone.

        Raises h11.RemoteProtocolError for what is no valid request.
        """
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        event = await self.next_event()
        return event if isinstance(event, h11.Request) else None

    async def next_event(self) -> Any:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(_CHUNK))
        return event

    async def send(self, event: h11.Event) -> None:
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    async def refuse(self, status: int, reason: str) -> None:
        """Answer in the relay's own name, and end the connection."""
        body = f"prx-tunnel relay: {reason}\n".encode()
        headers = [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
            ("prx-tunnel-relay", str(status)),
            ("connection", "close"),
        ]
        if self.http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        await self.send(h11.Response(status_code=status, headers=headers))
        await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    async def finish(self) -> None:
        """Let what was sent arrive, as long as somebody reads it.

        What the visitor still sends is read and dropped: a socket that is closed with unread data
        in it takes back what it has sent.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                if not self.writer.can_write_eof():  # TLS
                    self.writer.close()
                    await self.writer.wait_closed()
                    return
                self.writer.write_eof()
                for _ in range(_MOST_DROPPED // _CHUNK):
                    if not await self.reader.read(_CHUNK):
                        return


class Outcome(Enum):
    REUSABLE = auto()
    """The visitor may send another request on this connection."""
    FINISHED = auto()
    UPGRADED = auto()
    """From now on it is no HTTP: a WebSocket, as a rule."""


async def exchange(
    visit: Visit,
    request: h11.Request,
    reader: asyncssh.SSHReader[bytes],
    writer: asyncssh.SSHWriter[bytes],
) -> bool:
    """Pass the request on and the response back; whether the visitor may send another request."""
    passage = _Passage(visit, reader, writer)
    await passage.begin(request)
    upward = asyncio.ensure_future(passage.pass_request())
    downward = asyncio.ensure_future(passage.pass_response())
    try:
        await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
        if not downward.done() and not await upward:
            return False  # the visitor has gone, and nobody waits for the response
        outcome = await downward
    finally:
        await _end(upward, downward)
    if outcome is Outcome.UPGRADED:
        await passage.pass_everything()
    return outcome is Outcome.REUSABLE


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Passage:
    def __init__(
        self,
        visit: Visit,
        reader: asyncssh.SSHReader[bytes],
        writer: asyncssh.SSHWriter[bytes],
    ) -> None:
        self._visit = visit
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)
        self._answered = False
        self._passed = 0

    async def begin(self, request: h11.Request) -> None:
        upgrade = [item for item in request.headers.raw_items() if item[0].lower() == b"upgrade"]
        headers = [*_end_to_end(request.headers), *upgrade]
        headers.append((b"Connection", b"Upgrade" if upgrade else b"close"))
        await self._send(h11.Request(method=request.method, target=request.target, headers=headers))

    async def pass_request(self) -> bool:
        """Whether the visitor is still there when the request has been passed on."""
        while True:
            event = await self._visit.next_event()
            try:
                if isinstance(event, h11.Data | h11.EndOfMessage):
                    await self._send(event)
            except (asyncssh.Error, OSError):
                return True  # answered before it was asked to the end: 413, as a rule
            if not isinstance(event, h11.Data):
                break
        # From now on the visitor can only leave, or send ahead: its next request, or what follows
        # an upgrade. Either stays with the visitor's side of the protocol.
        data = await self._visit.reader.read(_CHUNK)
        self._visit.http.receive_data(data)
        return bool(data)

    async def pass_response(self) -> Outcome:
        try:
            return await self._pass_response()
        except (h11.ProtocolError, asyncssh.Error, OSError):
            if self._answered:
                raise  # half an answer must not look like a whole one
            await self._visit.refuse(502, "the response is no valid HTTP/1.1, or broke off")
            return Outcome.FINISHED

    async def _pass_response(self) -> Outcome:
        visit = self._visit
        while True:
            event = await self._next_event()
            if isinstance(event, h11.InformationalResponse):
                await visit.send(event)
                if event.status_code == 101:
                    return Outcome.UPGRADED
            elif isinstance(event, h11.Response):
                self._answered = True
                headers = _end_to_end(event.headers)
                await visit.send(
                    h11.Response(
                        status_code=event.status_code, reason=event.reason, headers=headers
                    )
                )
            elif isinstance(event, h11.Data | h11.EndOfMessage):
                await visit.send(event)
                if isinstance(event, h11.EndOfMessage):
                    done = visit.http.our_state is visit.http.their_state is h11.DONE
                    return Outcome.REUSABLE if done else Outcome.FINISHED
            else:
                raise h11.RemoteProtocolError("the response broke off")

    async def pass_everything(self) -> None:
        """Both directions as they come, each to its own end: one may outlast the other."""
        self._writer.write(self._visit.http.trailing_data[0])
        self._visit.writer.write(self._http.trailing_data[0])
        ways = {
            asyncio.ensure_future(self._copy(self._visit.reader.read, self._writer)),
            asyncio.ensure_future(self._copy(self._reader.read, self._visit.writer)),
        }
        try:
            done, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            while left and not any(way.exception() for way in done):
                before = self._passed
                done, left = await asyncio.wait(left, timeout=_LAST_WORDS_SECONDS)
                if not done and self._passed == before:
                    return
            # What the guest has not taken yet would be lost when the channel is aborted.
            self._writer.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._writer.wait_closed(), _LAST_WORDS_SECONDS)
        finally:
            await _end(*ways)

    async def _copy(
        self,
        read: Callable[[int], Awaitable[bytes]],
        writer: asyncio.StreamWriter | asyncssh.SSHWriter[bytes],
    ) -> None:
        while data := await read(_CHUNK):
            writer.write(data)
            await writer.drain()
            self._passed += len(data)
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()  # TLS

    async def _next_event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_CHUNK))
        return event

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()


def _end_to_end(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Those that are not about one connection only, spelled as they came."""
    named = [value for name, value in headers if name == b"connection"]
    listed = {token.strip().lower() for value in named for token in value.split(b",")}
    # Framing and routing are not for a client to switch off by naming them here.
    dropped = _HOP_BY_HOP | (listed - {b"content-length", b"transfer-encoding", b"host"})
    if any(name == b"transfer-encoding" for name, _ in headers):
        dropped |= {b"content-length"}  # RFC 9112, section 6.3: it has no say
    return [(name, value) for name, value in headers.raw_items() if name.lower() not in dropped]
