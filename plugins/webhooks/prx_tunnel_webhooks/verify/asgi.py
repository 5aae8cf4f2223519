"""ASGI middleware: only requests that the provider signed reach the application."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Unpack

from prx_tunnel_core.middleware import App, Message, Receive, Scope, Send, is_request, respond
from prx_tunnel_core.paths import AmbiguousPath, GuardedPath, RequestPath
from prx_tunnel_webhooks.verify.answers import Answer
from prx_tunnel_webhooks.verify.keys import Secrets
from prx_tunnel_webhooks.verify.schemes import Delivery, Scheme
from prx_tunnel_webhooks.verify.verifier import Limits, Verifier

__all__ = ["App", "Message", "Receive", "Scope", "Send", "VerifiedWebhooks"]


class VerifiedWebhooks:
    """Passes on only requests that the scheme accepts with the secret; others get 401.

    `path` and all below it is guarded, for every method, in every spelling, and behind any prefix.
    It is compared before the application's router has read it: a path that routers read differently
    gets 404, also where it is not guarded (see `prx_tunnel_core.paths`). With `RouteGuard`, the
    router decides.

    A request whose headers are missing, malformed or too old is refused before its body is read. A
    body larger than `max_body` bytes gets 413, one slower than `timeout` seconds 408. Of more than
    `max_bodies` bodies at a time, or `max_buffered` bytes of them, the one that has taken longest
    gets 503.

    A delivery that was taken (an answer below 400) and comes again gets 200 and is not passed on;
    one that is still under way gets 409. `remembered` deliveries are known; 0 switches that off.
    The delivery's id is in `scope["state"]["webhook"]`.

    Raises ValueError without a secret, and for a `path` that no request could have.
    """

    def __init__(
        self, app: App, path: str, scheme: Scheme, secret: Secrets, **limits: Unpack[Limits]
    ) -> None:
        self._app = app
        self._path = GuardedPath(path)
        self._verifier = Verifier(scheme, secret, **limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            guarded = is_request(scope) and self._path.covers(RequestPath(scope))
        except AmbiguousPath:
            await respond(scope, receive, send, 404)
            return
        if not guarded:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await respond(scope, receive, send, 403)  # no webhook comes that way
        else:
            await self._verify(scope, receive, send)

    async def _verify(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check = self._verifier.check_headers(scope["headers"])
            body = await self._verifier.bodies.read(_chunks(receive))
            delivery = self._verifier.check_body(check, body)
        except Answer as answer:
            headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
            await respond(scope, receive, send, answer.status, headers)
        else:
            await self._pass_on(scope, body, receive, send, delivery)

    async def _pass_on(
        self, scope: Scope, body: bytes, receive: Receive, send: Send, delivery: Delivery
    ) -> None:
        scope = {**scope, "state": {**scope.get("state", {}), "webhook": delivery.id}}
        with self._verifier.handling(delivery) as handling:

            async def note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    handling.status = message["status"]
                await send(message)

            await self._app(scope, _once(body, receive), note)


async def _chunks(receive: Receive) -> AsyncGenerator[bytes, None]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Answer(400)
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _once(body: bytes, receive: Receive) -> Receive:
    """The body that was read, then the server's next messages."""
    read = False

    async def again() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
