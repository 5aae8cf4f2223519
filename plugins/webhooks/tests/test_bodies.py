"""S04: what strangers send is not read, and what has to be read is limited."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from fastapi import Depends, FastAPI
from prx_tunnel_webhooks import verify
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from webhook_kit.signing import BODY, SCHEMES, SECRET, TIMED, sign_github

from prx_tunnel_core.middleware import App, Message

pytestmark = pytest.mark.anyio

WELL_FORMED = {"X-Hub-Signature-256": f"sha256={'0' * 64}", "X-GitHub-Delivery": "1"}
"""All that a stranger can know of a signature."""


class Visit:
    """A request whose body comes piece by piece, as the test says."""

    def __init__(self, app: App, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers
        self._pieces, self._heard = anyio.create_memory_object_stream[Message](1000)
        self.sent: list[Message] = []
        self.read = 0
        self.answered = anyio.Event()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"]) if self.sent else 0

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    async def run(self) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        scope = {
            "type": "http", "method": "POST", "path": "/hook", "query_string": b"",
            "headers": headers,
        }  # fmt: skip
        with self._pieces, self._heard:
            await self._app(scope, self._receive, self._send)
        self.answered.set()

    async def _receive(self) -> Message:
        self.read += 1
        return await self._heard.receive()

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    def piece(self, body: bytes, *, last: bool = False) -> None:
        self._pieces.send_nowait({"type": "http.request", "body": body, "more_body": not last})


async def settled() -> None:
    """Everybody has done what there is to do: all of it happens in memory."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def visits(app: App, count: int, headers: Mapping[str, str]) -> AsyncIterator[list[Visit]]:
    """Requests that are being read, all of them."""
    visitors = [Visit(app, headers) for _ in range(count)]
    async with anyio.create_task_group() as tasks:
        for visitor in visitors:
            tasks.start_soon(visitor.run)
            if count < 50:  # in this order
                await settled()
        await settled()
        yield visitors
        tasks.cancel_scope.cancel()


async def accepted(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 202, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def guarded(scheme: verify.Scheme = verify.github, **limits: Any) -> App:
    return verify.VerifiedWebhooks(accepted, "/hook", scheme, SECRET, **limits)


async def status_of(app: App, headers: Mapping[str, str], body: bytes = BODY) -> int:
    visit = Visit(app, headers)
    visit.piece(body, last=True)
    with anyio.fail_after(10):
        await visit.run()
    return visit.status


@pytest.mark.parametrize("name", SCHEMES)
async def test_s04_no_body_is_read_for_headers_that_cannot_be_the_provider_s(name: str) -> None:
    scheme, sign, secret, _ = SCHEMES[name]
    app = verify.VerifiedWebhooks(accepted, "/hook", scheme, secret)
    wrong: list[dict[str, str]] = [{}]
    for header, value in sign().items():
        wrong.append({key: text for key, text in sign().items() if key != header})
        if header.lower() not in ("x-github-delivery", "webhook-id"):
            wrong += [{**sign(), header: bad} for bad in ("", "x", value[:-1], f"{value}!", "é")]
    if name in TIMED:
        wrong += [sign(at=-400), sign(at=400)]
    for headers in wrong:
        visit = Visit(app, headers)
        await visit.run()
        assert (visit.status, visit.read) == (401, 0), headers
        assert visit.headers[b"connection"] == b"close"
    assert await status_of(app, sign()) == 202


async def test_s04_six_hundred_unsigned_bodies_are_not_waited_for() -> None:
    async with visits(guarded(), 600, {}) as visitors:
        assert [visitor.status for visitor in visitors] == [401] * 600
        assert not any(visitor.read for visitor in visitors)


async def test_s04_bodies_are_limited_in_number() -> None:
    app = guarded(max_bodies=5)
    async with visits(app, 12, WELL_FORMED) as visitors:
        assert [visitor.status for visitor in visitors] == [503] * 7 + [0] * 5
        assert all(int(each.headers[b"retry-after"]) > 0 for each in visitors[:7])
        assert await status_of(app, sign_github()) == 202
        await settled()
        assert [visitor.status for visitor in visitors] == [503] * 8 + [0] * 4


async def test_s04_bodies_are_limited_in_bytes() -> None:
    app = guarded(max_body=1000, max_buffered=3000)
    async with visits(app, 10, WELL_FORMED) as visitors:
        for visitor in visitors:
            visitor.piece(b"x" * 900)
            await settled()
        assert [visitor.status for visitor in visitors] == [503] * 7 + [0] * 3
        assert await status_of(app, sign_github()) == 202
        visitors[-1].piece(b"x" * 101)
        await visitors[-1].answered.wait()
        assert visitors[-1].status == 413
        visitors[-2].piece(b"", last=True)
        await visitors[-2].answered.wait()
        assert visitors[-2].status == 401


def fastapi(guard: verify.RouteGuard) -> App:
    app = FastAPI()

    @app.post("/hook", status_code=202, dependencies=[Depends(guard.fastapi)])
    async def pushed() -> None:
        pass

    return app


def starlette(guard: verify.RouteGuard) -> App:
    @guard.starlette
    async def pushed(_: Request) -> Response:
        return Response(status_code=202)

    return Starlette(routes=[Route("/hook", pushed, methods=["POST"])])


@pytest.mark.parametrize("build", [fastapi, starlette])
async def test_s04_a_guard_of_a_route_limits_its_bodies(
    build: Callable[[verify.RouteGuard], App],
) -> None:
    app = build(verify.RouteGuard(verify.github, SECRET, max_bodies=5))
    async with visits(app, 12, WELL_FORMED) as visitors:
        assert [visitor.status for visitor in visitors] == [503] * 7 + [0] * 5
        assert await status_of(app, sign_github()) == 202
        await settled()
        assert [visitor.status for visitor in visitors] == [503] * 8 + [0] * 4


async def test_s04_a_body_that_makes_room_for_itself_is_refused() -> None:
    """The one that has taken longest may be the one that grows."""
    app = guarded(max_body=1000, max_buffered=1000)
    async with visits(app, 2, WELL_FORMED) as (first, second):
        second.piece(b"x" * 600)
        await settled()
        first.piece(b"x" * 600)
        await first.answered.wait()
        assert (first.status, second.status) == (503, 0)
        assert await status_of(app, sign_github()) == 202


async def test_s04_what_was_read_is_given_back() -> None:
    app = guarded(max_body=1000, max_buffered=1000, max_bodies=1, remembered=0)
    for _ in range(5):
        assert await status_of(app, WELL_FORMED, b"x" * 900) == 401
        assert await status_of(app, WELL_FORMED, b"x" * 1001) == 413
        async with visits(app, 1, WELL_FORMED) as (visitor,):
            visitor.piece(b"x" * 900)
            await settled()
        assert await status_of(app, sign_github()) == 202


async def test_s04_a_whole_body_has_one_deadline() -> None:
    began = time.monotonic()
    async with visits(guarded(timeout=0.2), 1, WELL_FORMED) as (visitor,):
        with anyio.move_on_after(5):
            while not visitor.sent:
                visitor.piece(b"x")
                await anyio.sleep(0.02)
    assert visitor.status == 408
    assert time.monotonic() - began < 5


async def test_s04_a_scheme_of_one_s_own_is_limited_too() -> None:
    def own(headers: verify.Headers, body: bytes, secret: Any) -> verify.Delivery:
        if body != BODY:
            raise verify.Rejected("another body")
        return verify.Delivery("1")

    app = guarded(own, max_bodies=1)
    async with visits(app, 2, {}) as visitors:
        assert [visitor.status for visitor in visitors] == [503, 0]
    assert await status_of(app, {}, b"x") == 401
    assert await status_of(app, {}) == 202


@pytest.mark.parametrize("limits", [{"max_body": 0}, {"timeout": 0}, {"max_bodies": 0}])
def test_limits_are_greater_than_nothing(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        guarded(**limits)
