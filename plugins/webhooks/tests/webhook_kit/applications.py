"""One route, `/webhooks/github`, in real frameworks: each reads a path in a way of its own.

For a server, `webhook_kit.applications:app` is all of them: headers of the request choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import a2wsgi
from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
from django.urls import re_path  # type: ignore[import-untyped]
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar
from litestar import asgi as litestar_asgi
from litestar.handlers import HTTPRouteHandler
from prx_tunnel_webhooks import verify
from quart import Quart
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from prx_tunnel_core.access import TunnelAdmission, bearer_token
from prx_tunnel_core.middleware import App
from webhook_kit.django_site import site

HANDLED = "handled by the route"
SECRET = "a-secret-of-the-tests"
PATH = "/webhooks/github"
MOUNT = "/api"
METHODS = ["GET", "POST"]

reached: list[str] = []
"""An entry for each call of a handler, in this process."""


def handle() -> str:
    reached.append(PATH)
    return HANDLED


async def endpoint(_: Request) -> PlainTextResponse:
    return PlainTextResponse(handle())


def starlette() -> App:
    return Starlette(routes=[Route(PATH, endpoint, methods=METHODS)])


def starlette_mounted() -> App:
    return Starlette(routes=[Mount(MOUNT, routes=[Route(PATH, endpoint, methods=METHODS)])])


def fastapi() -> App:
    app = FastAPI()
    app.api_route(PATH, methods=METHODS)(_take)
    return app


def fastapi_mounted() -> App:
    app = FastAPI()
    app.mount(MOUNT, fastapi())
    return app


async def _take() -> str:
    return handle()


def fastapi_prefixed() -> App:
    app = FastAPI()
    app.root_path = MOUNT  # which a guard in front of it does not know
    app.api_route(PATH, methods=METHODS)(_take)
    return app


def litestar() -> App:
    return Litestar(
        [HTTPRouteHandler(PATH, http_method=["GET", "POST"], status_code=200)(_take)],
        logging_config=None,
    )


def litestar_mounted() -> App:
    inner = litestar()

    @litestar_asgi(MOUNT, is_mount=True, copy_scope=True)
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    return Litestar([mounted], logging_config=None)


def quart(*, strict_slashes: bool = True) -> App:
    app = Quart(__name__)
    app.route(PATH, methods=METHODS, strict_slashes=strict_slashes)(_take)
    return app


def flask(*, strict_slashes: bool = True) -> App:
    app = Flask(__name__)
    app.route(PATH, methods=METHODS, strict_slashes=strict_slashes)(handle)
    return a2wsgi.WSGIMiddleware(app)  # type: ignore[arg-type]


def flask_prefixed() -> App:
    def nothing(_: Any, start_response: Any) -> list[bytes]:
        start_response("404 Not Found", [])
        return []

    app = Flask(__name__)
    app.route(PATH, methods=METHODS)(handle)
    return a2wsgi.WSGIMiddleware(DispatcherMiddleware(nothing, {MOUNT: app}))  # type: ignore[arg-type]


async def _view(_: HttpRequest) -> HttpResponse:
    return HttpResponse(handle())


def django_app() -> App:
    """As loose as they come: any case, a slash or none."""
    return site(re_path(r"(?i)^webhooks/github/?$", _view))


APPS: Mapping[str, Callable[[], App]] = {
    "starlette": starlette,
    "starlette-mounted": starlette_mounted,
    "fastapi": fastapi,
    "fastapi-mounted": fastapi_mounted,
    "fastapi-prefixed": fastapi_prefixed,
    "litestar": litestar,
    "litestar-mounted": litestar_mounted,
    "litestar-prefixed": litestar_mounted,
    "quart": quart,
    "quart-loose": lambda: quart(strict_slashes=False),
    "flask": flask,
    "flask-loose": lambda: flask(strict_slashes=False),
    "flask-prefixed": flask_prefixed,
    "django": django_app,
}


def path_in(name: str) -> str:
    """Where the route is."""
    return f"{MOUNT}{PATH}" if name.endswith(("-mounted", "-prefixed")) else PATH


def guarded_in(name: str) -> str:
    """The path that is guarded: with a prefix that the application cuts off, or without it."""
    return PATH if name.endswith("-prefixed") else path_in(name)


def verified(app: App, path: str) -> App:
    return verify.VerifiedWebhooks(app, path, verify.github, SECRET)


def admitted(app: App) -> App:
    """Everything needs a token but what is below /open/."""
    return TunnelAdmission(app, guard=bearer_token(SECRET), unguarded=["/open/"])


def guarded(name: str) -> App:
    """The header `x-guard` says which guard stands before the application, if any."""
    bare = APPS[name]()
    guards = {b"verified": verified(bare, guarded_in(name)), b"admitted": admitted(bare)}

    async def choose(scope: Any, receive: Any, send: Any) -> None:
        chosen = dict(scope.get("headers", ())).get(b"x-guard", b"")
        await guards.get(chosen, bare)(scope, receive, send)

    return choose


class All:
    """Every application, each when it is first asked for."""

    def __init__(self) -> None:
        self._apps: dict[str, App] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        name = dict(scope["headers"])[b"x-app"].decode()
        app = self._apps.get(name) or self._apps.setdefault(name, guarded(name))
        await app(scope, receive, send)


app = All()
