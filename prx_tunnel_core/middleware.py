"""For authors of ASGI middleware: the types of an application, and a short response.

The types are those of ASGI (https://asgi.readthedocs.io), so they fit every framework.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, TypeAlias

__all__ = ["App", "Message", "Receive", "Scope", "Send", "is_request", "respond"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
# Any: each framework has types of its own for scopes and messages.
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

_TRY_AGAIN_LATER, _POLICY_VIOLATION = 1013, 1008  # close codes of a WebSocket


def is_request(scope: Mapping[str, Any]) -> bool:
    """Whether a guard has to decide: True for HTTP and WebSocket, False for the lifespan.

    Raises ValueError for every other kind of scope, because a guard cannot judge a protocol that it
    does not know.
    """
    kind = scope["type"]
    if kind not in ("http", "websocket", "lifespan"):
        raise ValueError(f"the ASGI scope type {kind!r} is not supported, so it is refused")
    return bool(kind != "lifespan")


async def respond(
    scope: Mapping[str, Any],
    receive: Receive,
    send: Send,
    status: int,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Answer with a status and its phrase; the reason belongs in the log, not in the response.

    A WebSocket is closed before it is accepted: with 1013 for 503, else with 1008.
    """
    if scope["type"] == "websocket":
        await receive()  # the connect message
        code = _TRY_AGAIN_LATER if status == HTTPStatus.SERVICE_UNAVAILABLE else _POLICY_VIOLATION
        await send({"type": "websocket.close", "code": code})
        return
    text = f"{HTTPStatus(status).phrase}\n".encode()
    own = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    # The body may not have been read. HTTP/2 has no such header, and some servers fail on it.
    if status >= HTTPStatus.BAD_REQUEST and str(scope.get("http_version", "1")).startswith("1"):
        own.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": text})
