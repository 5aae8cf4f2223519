"""S01: whatever a framework routes to the guarded handler, the guard has judged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import pytest
from hypercorn.middleware import DispatcherMiddleware
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart
from webhook_kit import applications
from webhook_kit.applications import APPS, path_in
from webhook_kit.spellings import SPELLINGS, WITHIN, targets

from prx_tunnel_core.middleware import App
from support.fuzz import fuzz

Run = Callable[[Coroutine[Any, Any, list[str]]], list[str]]
Placed = Callable[[str], dict[str, Any]]


def _as_uvicorn(target: str) -> dict[str, Any]:
    target = f"/api{target}"
    return {"path": unquote(target), "raw_path": target.encode(), "root_path": "/api"}


# Where servers put a target, below a root path and without one.
PLACES: Mapping[str, Placed] = {
    "plain": lambda target: {"path": unquote(target), "raw_path": target.encode(), "root_path": ""},
    "no raw_path": lambda target: {"path": unquote(target), "root_path": ""},
    "root_path in front": _as_uvicorn,
    "root_path beside": lambda target: {"path": unquote(target), "root_path": "/api"},
}


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture(scope="module")
def guarded() -> Mapping[str, App]:
    logging.getLogger("django.request").setLevel(logging.ERROR)
    return {name: applications.guarded(name) for name in APPS}


async def visit(app: App, place: Mapping[str, Any], guard: str = "") -> int:
    """The status that a visitor from outside gets, who sends no signature and no token."""
    messages = [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
        "method": "GET", "query_string": b"", "client": ("127.0.0.1", 5), "server": ("::1", 80),
        "headers": [(b"host", b"agent.example.com"), (b"x-guard", guard.encode())], **place,
    }  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"])


async def handled(app: App, place: Placed, targets: Iterable[str], guard: str = "") -> list[str]:
    """The targets with which the visitor reaches the route's handler."""
    found = []
    for target in targets:
        applications.reached.clear()
        await visit(app, place(target), guard)
        if applications.reached:
            found.append(target)
    return found


@pytest.mark.parametrize(
    ("name", "spellings"),
    {
        "starlette": ["{}", "{}%0a"],
        "fastapi": ["{}", "{}%0a"],
        "litestar": ["{}", "{}/", "{}//", "//{}", "/webhooks//github"],
        "litestar-mounted": ["{}", "/{}", "/apiwebhooks/github"],
        "litestar-prefixed": ["{}", "/apiwebhooks/github"],
        "fastapi-prefixed": ["/webhooks/github", "/api/webhooks/github"],
        "flask-prefixed": ["{}"],
        "quart": ["{}", "//{}", "http://localhost{}", "webhooks/github"],
        "quart-loose": ["{}/"],
        "flask": ["{}", "//{}", "webhooks/github"],
        "django": ["{}", "{}/", "/WEBHOOKS/GITHUB", "/webhooks/g%c4%b1thub"],
    }.items(),
)
def test_s01_frameworks_read_these_as_the_route(
    run: Run, guarded: Mapping[str, App], name: str, spellings: list[str]
) -> None:
    """So that the other tests would fail without a guard."""
    wanted = [spelling.format(path_in(name)) for spelling in spellings]
    assert run(handled(guarded[name], PLACES["plain"], wanted)) == wanted


@pytest.mark.parametrize("place", ["plain", "root_path beside"])
@pytest.mark.parametrize("guard", ["verified", "admitted"])
@pytest.mark.parametrize("name", APPS)
def test_s01_no_spelling_leads_past_a_guard(
    run: Run, guarded: Mapping[str, App], name: str, guard: str, place: str
) -> None:
    spellings = [*(each.format(path_in(name)) for each in SPELLINGS), *WITHIN]
    assert run(handled(guarded[name], PLACES[place], spellings, guard)) == []


def test_s01_a_mount_that_cuts_within_a_segment_leads_past_no_guard(run: Run) -> None:
    """Hypercorn's mounts, as Litestar's, do not look for a slash at their end."""
    inner = Quart(__name__)
    inner.route("/hook")(_take)
    bare: Any = DispatcherMiddleware({"/api": inner})
    targets = ["/api/hook", "/apihook"]
    assert run(handled(bare, PLACES["plain"], targets)) == targets
    assert run(handled(applications.verified(bare, "/hook"), PLACES["plain"], targets)) == []


async def _take() -> str:
    return applications.handle()


@fuzz
@given(target=targets(), place=st.sampled_from(sorted(PLACES)))
def test_s01_no_generated_spelling_leads_past_a_guard(
    run: Run, guarded: Mapping[str, App], target: str, place: str
) -> None:
    async def past() -> list[str]:
        return [
            f"{name}, {guard}"
            for name, app in guarded.items()
            for guard in ("verified", "admitted")
            if await handled(app, PLACES[place], [target], guard)
        ]

    assert run(past()) == []
