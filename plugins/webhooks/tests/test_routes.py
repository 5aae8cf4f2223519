"""A guard per route: the framework's router decides, and the guard sees what reaches the route."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import a2wsgi
import pytest
from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
from django.urls import path as django_path  # type: ignore[import-untyped]
from fastapi import Depends, FastAPI, HTTPException
from flask import Flask, g
from flask import request as flask_request
from prx_tunnel_webhooks import verify
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from webhook_kit.django_site import site
from webhook_kit.posting import PATH, post
from webhook_kit.signing import BODY, SECRET, sign_github

from prx_tunnel_core.middleware import App

WRONG = {"X-Hub-Signature-256": f"sha256={'0' * 64}", "X-GitHub-Delivery": "1"}


class Handler:
    """What the routes do: note what they see, and answer as the test says."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.status = 202
        self.fails: Exception | None = None

    def __call__(self, delivery: str, body: Any) -> int:
        self.seen.append((delivery, body))
        if self.fails is not None:
            raise self.fails
        return self.status


Build = Callable[[verify.RouteGuard, Handler], App]


def fastapi(guard: verify.RouteGuard, handler: Handler) -> App:
    app = FastAPI()

    @app.post(PATH)
    async def pushed(
        request: Request,
        delivery: verify.Delivery = Depends(guard.fastapi),  # noqa: B008, FAST002
    ) -> Response:
        assert request.state.webhook == delivery.id
        status = handler(delivery.id, await request.json())
        if status >= 400:
            raise HTTPException(status)
        return Response(status_code=status)

    return app


def fastapi_decorated(guard: verify.RouteGuard, handler: Handler) -> App:
    app = FastAPI()

    @app.post(PATH)
    @guard.starlette
    async def pushed(request: Request) -> Response:
        return Response(status_code=handler(request.state.webhook, await request.json()))

    return app


def starlette(guard: verify.RouteGuard, handler: Handler) -> App:
    @guard.starlette
    async def pushed(request: Request) -> Response:
        return Response(status_code=handler(request.state.webhook, await request.json()))

    return Starlette(routes=[Route(PATH, pushed, methods=["POST"])])


def starlette_sync(guard: verify.RouteGuard, handler: Handler) -> App:
    @guard.starlette
    def pushed(request: Request) -> Response:
        body = asyncio.run(request.json())  # in a thread
        return Response(status_code=handler(request.state.webhook, body))

    return Starlette(routes=[Route(PATH, pushed, methods=["POST"])])


def starlette_class(guard: verify.RouteGuard, handler: Handler) -> App:
    class Pushed(HTTPEndpoint):
        @guard.starlette
        async def post(self, request: Request) -> Response:
            return Response(status_code=handler(request.state.webhook, await request.json()))

    return Starlette(routes=[Route(PATH, Pushed)])


def flask(guard: verify.RouteGuard, handler: Handler) -> App:
    app = Flask(__name__)

    @app.post(PATH)
    @guard.flask
    def pushed() -> tuple[str, int]:
        return "", handler(g.webhook, flask_request.get_json(force=True))

    app.testing = True  # what a view raises arrives at the test
    return a2wsgi.WSGIMiddleware(app)  # type: ignore[arg-type]


def django_sync(guard: verify.RouteGuard, handler: Handler) -> App:
    @guard.django
    def pushed(request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=handler(request.webhook, json.loads(request.body)))

    return site(django_path(PATH[1:], pushed))


def django_async(guard: verify.RouteGuard, handler: Handler) -> App:
    @guard.django
    async def pushed(request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=handler(request.webhook, json.loads(request.body)))

    return site(django_path(PATH[1:], pushed))


ALL: Mapping[str, Build] = {
    build.__name__: build
    for build in (
        fastapi, fastapi_decorated, starlette, starlette_sync, starlette_class, flask, django_sync,
        django_async,
    )
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning:a2wsgi")


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture(params=ALL)
def build(request: pytest.FixtureRequest) -> Build:
    return ALL[request.param]


@pytest.fixture
def app(build: Build, handler: Handler) -> App:
    return build(verify.RouteGuard(verify.github, SECRET), handler)


def test_s01_what_is_signed_arrives_with_its_id_and_its_body(app: App, handler: Handler) -> None:
    assert post(app, sign_github()) == 202
    ((delivery, body),) = handler.seen
    assert delivery == "72d3162e"
    assert body["name"] == "Grüße"


def test_s01_what_is_not_signed_does_not(app: App, handler: Handler) -> None:
    for headers in ({}, WRONG, {**sign_github(), "X-Hub-Signature-256": "sha256=0"}):
        assert post(app, headers) == 401
    assert post(app, sign_github(), BODY + b" ") == 401
    for spelling in (f"{PATH}%0a", f"/{PATH}", f"{PATH}/", f"{PATH};x", "/WEBHOOKS/GITHUB"):
        assert post(app, {}, path=spelling) in (307, 401, 404)
    assert handler.seen == []


def test_m07_a_delivery_is_taken_once(app: App, handler: Handler) -> None:
    assert [post(app, sign_github()) for _ in range(3)] == [202, 200, 200]
    assert len(handler.seen) == 1


def test_one_that_was_not_taken_may_come_again(app: App, handler: Handler) -> None:
    handler.status = 503
    assert post(app, sign_github()) == 503
    handler.fails = RuntimeError("oops")
    with pytest.raises(RuntimeError, match="oops"):
        post(app, sign_github())
    handler.status, handler.fails = 202, None
    assert [post(app, sign_github()), post(app, sign_github())] == [202, 200]
    assert len(handler.seen) == 3


def test_one_that_is_under_way_is_not_begun_again(build: Build, handler: Handler) -> None:
    guard = verify.RouteGuard(verify.github, SECRET)
    app = build(guard, handler)
    verifier = guard._verifier
    delivery = verifier.check_body(verifier.check_headers(sign_github()), BODY)
    with verifier.handling(delivery):  # as another request does
        assert post(app, sign_github()) == 409
    assert post(app, sign_github()) == 202
    assert len(handler.seen) == 1


def test_s04_what_is_too_large_is_refused(build: Build, handler: Handler) -> None:
    app = build(verify.RouteGuard(verify.github, SECRET, max_body=100), handler)
    large = b'{"a": "' + b"x" * 100 + b'"}'
    assert post(app, sign_github(large), large) == 413
    assert post(app, {}, large) == 413
    assert post(app, sign_github(b"{}"), b"{}") == 202


@pytest.mark.parametrize("name", [name for name in ALL if not name.startswith("django")])
def test_s04_no_body_is_read_for_headers_that_cannot_be_the_provider_s(
    handler: Handler, name: str
) -> None:
    """Django itself reads the body before it looks for a view."""
    app = ALL[name](verify.RouteGuard(verify.github, SECRET), handler)

    async def receive() -> Any:
        raise AssertionError

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": PATH, "headers": [], "query_string": b"",
        "http_version": "1.1", "scheme": "http", "server": None, "client": None,
    }  # fmt: skip

    async def visit() -> None:
        await app(scope, receive, send)

    asyncio.run(visit())
    assert sent[0]["status"] == 401


def test_a_body_that_was_read_before_can_still_be_verified(handler: Handler) -> None:
    """FastAPI reads the body for a parameter before it calls a dependency."""
    guard = verify.RouteGuard(verify.github, SECRET)
    app = FastAPI()

    @app.post(PATH, dependencies=[Depends(guard.fastapi)])
    async def pushed(event: dict[str, Any]) -> dict[str, Any]:
        handler("", event)
        return {}

    assert post(app, WRONG) == 401
    assert post(app, {**sign_github(), "content-type": "application/json"}) == 200
    assert len(handler.seen) == 1


def test_an_endpoint_without_a_request_is_named() -> None:
    guard = verify.RouteGuard(verify.github, SECRET)

    @guard.starlette
    async def pushed() -> None:
        raise AssertionError

    with pytest.raises(TypeError, match=r"pushed.* has to take the request"):
        asyncio.run(pushed())


@pytest.mark.parametrize("secret", ["", None, []])
def test_it_is_not_built_without_a_secret(secret: Any) -> None:
    with pytest.raises(ValueError, match="without its secret"):
        verify.RouteGuard(verify.github, secret)


def test_no_framework_is_imported_before_it_is_used() -> None:
    code = (
        "import sys; from prx_tunnel_webhooks import verify; "
        "verify.RouteGuard(verify.github, 's'); "
        "print([m for m in ('starlette', 'fastapi', 'flask', 'django') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
