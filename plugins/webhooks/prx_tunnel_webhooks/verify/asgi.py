"""ASGI middleware: what is not the provider's never reaches the application.

The types are ASGI's own (https://asgi.readthedocs.io), so any framework or none will do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import anyio

from prx_tunnel_core.logs import get_logger
from prx_tunnel_webhooks.verify.deliveries import KEPT, Deliveries
from prx_tunnel_webhooks.verify.headers import Rejected
from prx_tunnel_webhooks.verify.keys import Secrets
from prx_tunnel_webhooks.verify.schemes import Delivery, Scheme

logger = get_logger("prx_tunnel_webhooks")

LARGEST_BODY = 1024 * 1024  # bytes; GitHub's largest webhook is 25 MB, most are a few kB
PATIENCE = 10.0  # seconds for the whole body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class VerifiedWebhooks:
    """Passes on only what the scheme accepts under the secret; everything else gets 401.

    `path` and all below it is guarded, for every method. A body larger than `max_body` bytes gets
    413, one slower than `timeout` seconds 408, before anything is computed. A delivery that was
    taken (an answer below 400) and comes again gets 200 and is not passed on; one that is still
    under way gets 409. `remembered` deliveries are known; 0 switches that off. The delivery's id is
    in `scope["state"]["webhook"]`.

    Raises ValueError without a secret.
    """

    def __init__(
        self,
        app: App,
        path: str,
        scheme: Scheme,
        secret: Secrets,
        *,
        max_body: int = LARGEST_BODY,
        timeout: float = PATIENCE,
        remembered: int = KEPT,
    ) -> None:
        _require_secret(scheme, secret)
        self._app = app
        self._path = path.rstrip("/")
        self._scheme = scheme
        self._secret = secret
        self._max_body = max_body
        self._timeout = timeout
        self._deliveries = Deliveries(remembered)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not self._guards(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # no webhook comes that way
        else:
            await self._verify(scope, receive, send)

    def _guards(self, scope: Scope) -> bool:
        path: str = scope["path"]
        # Of an application that is mounted below another path, either may be meant.
        below = path.removeprefix(scope.get("root_path") or "")
        return any(f"{each}/".startswith(f"{self._path}/") for each in (path, below))

    async def _verify(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._read(scope, receive)
        if isinstance(body, int):
            await _answer(send, body)
            return
        try:
            delivery = self._scheme(scope["headers"], body, self._secret)
        except Rejected as rejected:
            logger.info("a request to %s was refused: %s", self._path, rejected)
            await _answer(send, 401)
            return
        known = self._deliveries.begin(delivery.id)
        if known == "new":
            await self._pass_on(scope, body, receive, send, delivery)
        else:
            await _answer(send, 200 if known == "done" else 409)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | int:
        """The whole body, or the status that says why it is not wanted."""
        if _length(scope) > self._max_body:
            return 413
        body = bytearray()
        with anyio.move_on_after(self._timeout):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return 400
                body += message.get("body", b"")
                if len(body) > self._max_body:
                    return 413
                if not message.get("more_body", False):
                    return bytes(body)
        return 408

    async def _pass_on(
        self, scope: Scope, body: bytes, receive: Receive, send: Send, delivery: Delivery
    ) -> None:
        scope = {**scope, "state": {**scope.get("state", {}), "webhook": delivery.id}}
        statuses: list[int] = []

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            await self._app(scope, _once(body, receive), note)
        except BaseException:
            self._deliveries.end(delivery.id, taken=False)
            raise
        self._deliveries.end(delivery.id, taken=bool(statuses) and statuses[0] < 400)


def _once(body: bytes, receive: Receive) -> Receive:
    """The body that was read, then what the server says next."""
    read = False

    async def again() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _length(scope: Scope) -> int:
    """What the request says of its length; its real length is counted as it comes."""
    values = [value for name, value in scope["headers"] if name.lower() == b"content-length"]
    # Cut: Python reads no number of 5000 digits, and 18 are too many bytes already.
    return max((int(value[:18]) for value in values if value.isdigit()), default=0)


async def _answer(send: Send, status: int) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    if status == 200:
        headers.pop()
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _require_secret(scheme: Scheme, secret: Secrets) -> None:
    """One that is missing or malformed shows when the program starts, not when a webhook comes."""
    with suppress(Rejected):
        scheme([], b"", secret)
