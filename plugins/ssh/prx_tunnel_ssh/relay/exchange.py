"""One HTTP request of a visitor, passed on through an SSH channel, and its response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Any

import asyncssh
import h11
from h11._headers import Headers

from prx_tunnel_ssh.relay.channel import Channel
from prx_tunnel_ssh.relay.visit import LAST_WORDS_SECONDS, Visit

# Headers that concern one connection only, and are not passed on (RFC 9110, section 7.6.1). Framing
# belongs to h11, which needs to see Transfer-Encoding.
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"})


class Outcome(Enum):
    REUSABLE = auto()
    """The visitor may send another request on this connection."""
    FINISHED = auto()
    UPGRADED = auto()
    """The connection no longer carries HTTP, but a WebSocket, as a rule."""


async def exchange(visit: Visit, request: h11.Request, channel: Channel) -> bool:
    """Pass the request on and the response back; whether the visitor may send another request."""
    passage = _Passage(visit, channel)
    await passage.begin(request)
    upward = asyncio.ensure_future(passage.pass_request())
    downward = asyncio.ensure_future(passage.pass_response())
    try:
        await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
        if not downward.done() and not await upward:
            return False  # the visitor has disconnected before the response was complete
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
    def __init__(self, visit: Visit, channel: Channel) -> None:
        self._visit = visit
        self._channel = channel
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
                return True  # answered before the request was complete: 413, as a rule
            if not isinstance(event, h11.Data):
                break
        # From now on the visitor can only disconnect, or send ahead: its next request, or the data
        # after an upgrade. Either is kept in the visitor's protocol object.
        data = await self._visit.receive()
        self._visit.http.receive_data(data)
        return bool(data)

    async def pass_response(self) -> Outcome:
        try:
            return await self._pass_response()
        except TimeoutError:
            if self._answered:
                raise  # half an answer must not look like a whole one
            await self._visit.refuse(504, "the program behind the tunnel did not answer in time")
        except (h11.ProtocolError, asyncssh.Error, OSError):
            if self._answered:
                raise
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
        """Copy both directions until each has ended: one may outlast the other."""
        visit, channel = self._visit, self._channel
        channel.wait_for_ever()
        await channel.send(visit.http.trailing_data[0])
        await visit.send_bytes(self._http.trailing_data[0])
        ways = {
            asyncio.ensure_future(self._copy(visit.receive, channel.send, channel.send_eof)),
            asyncio.ensure_future(self._copy(channel.receive, visit.send_bytes, visit.send_eof)),
        }
        try:
            done, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            while left and not any(way.exception() for way in done):
                before = self._passed
                done, left = await asyncio.wait(left, timeout=LAST_WORDS_SECONDS)
                if not done and self._passed == before:
                    return
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await channel.flush()
        finally:
            await _end(*ways)

    async def _copy(
        self,
        receive: Callable[[], Awaitable[bytes]],
        send: Callable[[bytes], Awaitable[None]],
        send_eof: Callable[[], Awaitable[None]],
    ) -> None:
        while data := await receive():
            await send(data)
            self._passed += len(data)
        await send_eof()

    async def _next_event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._receive())
        return event

    async def _receive(self) -> bytes:
        """Wait on while the request still arrives: the program may need all of it to respond."""
        while True:
            before = self._passed
            try:
                return await self._channel.receive()
            except TimeoutError:
                if self._passed == before:
                    raise

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event) or b""
        await self._channel.send(data)
        self._passed += len(data)


def _end_to_end(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers that do not concern one connection only, in their original spelling."""
    named = [value for name, value in headers if name == b"connection"]
    listed = {token.strip().lower() for value in named for token in value.split(b",")}
    # A client cannot remove headers of framing and routing by listing them here.
    dropped = _HOP_BY_HOP | (listed - {b"content-length", b"transfer-encoding", b"host"})
    if any(name == b"transfer-encoding" for name, _ in headers):
        dropped |= {b"content-length"}  # RFC 9112, section 6.3: Transfer-Encoding overrides it
    return [(name, value) for name, value in headers.raw_items() if name.lower() not in dropped]
