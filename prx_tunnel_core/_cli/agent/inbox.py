"""A small HTTP server that receives webhooks: the inbox of `prx start`, the agent of the demo."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio
import anyio.abc
import h11

from prx_tunnel_core._cli.views import write
from prx_tunnel_core._health.probe import MARK, take_mark
from prx_tunnel_core.errors import unwrap_group
from prx_tunnel_core.text import one_line

LARGEST_BODY = 1024 * 1024  # bytes
HEAD_PATIENCE = 5.0  # seconds for the head of a request
PATIENCE = 30.0  # seconds for the whole request
MOST_CLIENTS = 64
SIGNATURE = "x-hub-signature-256"

SHOWN = 2000  # characters of a body
SHOWN_LINES = 30
LONGEST_PATH = 500  # characters
LONGEST_NAME = 100  # characters of a method or a content type


@dataclass(frozen=True)
class Webhook:
    """A request, as received."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    verified: bool
    """Whether the signature is valid for the secret and this body; False without a secret."""


def sign(secret: bytes, body: bytes) -> str:
    """The value of GitHub's `X-Hub-Signature-256`: HMAC-SHA256 over the raw body."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


@asynccontextmanager
async def listen(
    secret: bytes | None,
    receive: Callable[[Webhook], None],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port.

    With a secret, `receive` gets each POST, and one without a valid signature is answered with 401.
    Without a secret, `receive` gets every request, and each is answered with 200.
    """
    inbox = _Inbox(secret, receive)
    listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    with unwrap_group():
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, inbox.answer)
            yield int(listener.extra(anyio.abc.SocketAttribute.local_port))  # noqa: S610 - no SQL
            tasks.cancel_scope.cancel()


class _Inbox:
    def __init__(self, secret: bytes | None, receive: Callable[[Webhook], None]) -> None:
        self._secret = secret
        self._receive = receive
        self._clients: dict[anyio.CancelScope, bool] = {}
        """The clients being served, oldest first, and whether the request's head has arrived."""

    async def answer(self, client: anyio.abc.SocketStream) -> None:
        """Answer one request and close the connection."""
        async with client:
            http = h11.Connection(h11.SERVER)
            try:
                with self._place() as place:
                    status = await self._serve(http, client, place)
                    await client.send(_reply(http, status))
            except (h11.ProtocolError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return  # the client disconnected, or does not speak HTTP

    @contextmanager
    def _place(self) -> Iterator[anyio.CancelScope]:
        """A place among the clients; if all are taken, the oldest client is disconnected.

        Clients that have not sent the head of a request go first, so that idle connections cannot
        crowd out real requests.
        """
        if len(self._clients) >= MOST_CLIENTS:
            longest = min(self._clients, key=self._clients.__getitem__)
            del self._clients[longest]
            longest.cancel()
        with anyio.move_on_after(HEAD_PATIENCE) as place:
            self._clients[place] = False
            try:
                yield place
            finally:
                self._clients.pop(place, None)

    async def _serve(
        self, http: h11.Connection, client: anyio.abc.SocketStream, place: anyio.CancelScope
    ) -> int:
        request, body = None, bytearray()
        while not isinstance(event := await _next(http, client), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                request = event
                place.deadline += PATIENCE - HEAD_PATIENCE
                if place in self._clients:
                    self._clients[place] = True
            elif isinstance(event, h11.Data):
                body += event.data
            if len(body) > LARGEST_BODY:
                return 413
            if isinstance(event, h11.ConnectionClosed):
                raise anyio.ClosedResourceError
        assert request is not None
        return self._take(request, bytes(body))

    def _take(self, request: h11.Request, body: bytes) -> int:
        if self._secret is not None and request.method != b"POST":
            return 405 if body else 204
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        verified = self._secret is not None and hmac.compare_digest(
            headers.get(SIGNATURE, "").encode(), sign(self._secret, body).encode()
        )
        method, path = request.method.decode("latin-1"), request.target.decode("latin-1")
        self._receive(Webhook(method, path, headers, body, verified))
        if self._secret is None:
            return 200
        return 202 if verified else 401


async def _next(http: h11.Connection, client: anyio.abc.SocketStream) -> object:
    while (event := http.next_event()) is h11.NEED_DATA:
        try:
            http.receive_data(await client.receive())
        except anyio.EndOfStream:
            http.receive_data(b"")
    return event


def _reply(http: h11.Connection, status: int) -> bytes:
    headers = [("content-length", "0"), ("connection", "close")]
    head = http.send(h11.Response(status_code=status, headers=headers)) or b""
    return head + (http.send(h11.EndOfMessage()) or b"")


def show(webhook: Webhook) -> None:
    """Print a request. It is untrusted: it must not control the terminal or flood the screen."""
    if take_mark(webhook.headers.get(MARK, "")):
        return  # a health check of prx
    method, path = _cut(webhook.method, LONGEST_NAME), _cut(webhook.path, LONGEST_PATH)
    kind = _cut(webhook.headers.get("content-type", "no content type"), LONGEST_NAME)
    body = webhook.body.decode("utf-8", "replace")
    lines = body[:SHOWN].splitlines()
    shown = [f"{method} {path} ({kind}, {len(webhook.body)} bytes)"]
    shown += [f"  {each}" for each in lines[:SHOWN_LINES]]
    if len(body) > SHOWN or len(lines) > SHOWN_LINES:
        shown.append("  …")
    write("".join(f"{one_line(each)}\n" for each in shown))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
