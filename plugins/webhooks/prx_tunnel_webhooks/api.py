"""One request to a provider's API: bounded, without redirects, never logged."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from json import dumps, loads
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from prx_tunnel_core.text import Redactor

if TYPE_CHECKING:
    import ssl

    import httpx

LARGEST_ANSWER = 1024 * 1024  # bytes
LONGEST_WAIT = 86_400.0  # seconds that a provider may ask for

_HEADERS = {
    "User-Agent": "prx-tunnel-webhooks",
    "Accept": "application/json",
    # A compressed answer of a few bytes may be gigabytes.
    "Accept-Encoding": "identity",
}
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_asking: ContextVar[bool] = ContextVar("prx_tunnel_webhooks_asking", default=False)


class Refusal(Exception):
    """The provider refused; the message is for the user.

    `retry_after`: seconds that it wants to be left alone.
    """

    def __init__(self, reason: str, *, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = min(max(retry_after, 0.0), LONGEST_WAIT)


@dataclass(frozen=True)
class Answer:
    host: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Raises Refusal for anything that is not JSON: a proxy's error page, half an answer."""
        try:
            return loads(self.body)
        except (ValueError, RecursionError):  # a number of 5000 digits is a ValueError too
            raise self.refusal("which is no JSON") from None

    def table(self) -> dict[str, Any]:
        """The JSON object; Refusal for any other value."""
        value = self.json()
        if not isinstance(value, dict):
            raise self.refusal("which is no JSON object")
        return value

    def refusal(self, reason: str = "", *, retry_after: float | None = None) -> Refusal:
        """The error to raise: the status, the provider's message, and when to try again."""
        phrase = HTTPStatus(self.status).phrase if self.status in set(HTTPStatus) else ""
        words = f"{self.host} answered {self.status} {phrase}".strip()
        if 300 <= self.status < 400:
            words += " (redirects are not followed: correct the address)"
        if reason:
            words += f": {reason}"
        wait = _retry_after(self.headers) if retry_after is None else retry_after
        return Refusal(words, retry_after=wait)


class Api:
    """The client of all registrations of one tunnel. Callers bound the time."""

    def __init__(self, client: httpx.AsyncClient, redact: Redactor) -> None:
        self._client = client
        self.redact = redact
        """Masks further secrets, such as renewed tokens."""

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """Raises Refusal when there is no answer; every answer is one, whatever its status."""
        import httpx

        host = urlsplit(url).hostname or "the server"
        token = _asking.set(True)
        try:
            async with _connections_closed() as connections:
                request = self._client.build_request(
                    method,
                    url,
                    headers=headers,
                    content=content,
                    extensions={"trace": connections.trace},
                )
                return await self._send(request, host, connections)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            reason = str(error) or type(error).__name__
            raise Refusal(f"no answer from {host}: {reason}") from None
        finally:
            _asking.reset(token)

    async def ask_json(
        self, method: str, url: str, value: object, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        headers = {"Content-Type": "application/json", **(headers or {})}
        return await self.ask(method, url, headers=headers, content=dumps(value).encode())

    async def _send(self, request: httpx.Request, host: str, connections: _Connections) -> Answer:
        import httpx

        response = await self._client.send(request, stream=True)
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    # Rather than leaving the loop: trio warns of every generator that is left.
                    await connections.close()
        except httpx.HTTPError:
            if len(body) <= LARGEST_ANSWER:
                raise
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        if len(body) > LARGEST_ANSWER:
            raise Refusal(f"{host} answered with more than {LARGEST_ANSWER} bytes")
        return Answer(host, response.status_code, response.headers, bytes(body))


@asynccontextmanager
async def open_api(redact: Redactor) -> AsyncIterator[Api]:
    # In a thread: importing httpx and reading the certificates would stall the loop for 150 ms.
    client = await anyio.to_thread.run_sync(_open_client)
    async with client:
        with _unlogged():
            yield Api(client, redact)


def _open_client() -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(
        verify=_certificates(),
        headers=_HEADERS,
        follow_redirects=False,  # they would take the token to another host
        timeout=None,  # noqa: S113 - one deadline over the whole attempt instead: see registration
        # Minutes lie between two requests: a kept connection would be a dead one.
        limits=httpx.Limits(max_keepalive_connections=0),
        mounts={f"all://{host}": None for host in _LOOPBACK},  # no proxy leads to this machine
    )


@cache
def _certificates() -> ssl.SSLContext:
    """Once for a process: reading them takes 50 ms."""
    import httpx

    certificates = httpx.create_ssl_context()
    certificates.load_default_certs()  # the system's too: an installation with its own authority
    return certificates


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep httpx from logging our URLs, for Telegram's contains the token; others are logged."""
    logger = logging.getLogger("httpx")

    def is_of_others(_: logging.LogRecord) -> bool:
        return not _asking.get()

    logger.addFilter(is_of_others)
    try:
        yield
    finally:
        logger.removeFilter(is_of_others)


class _Connections:
    """The connections that one request opened."""

    def __init__(self) -> None:
        self._opened: list[Any] = []

    async def trace(self, event: str, told: Mapping[str, Any]) -> None:
        """The callback of httpcore's extension `trace`."""
        if event.endswith(".connect_tcp.complete"):
            self._opened.append(told["return_value"])

    async def close(self) -> None:
        while self._opened:
            await self._opened.pop().aclose()


@asynccontextmanager
async def _connections_closed() -> AsyncIterator[_Connections]:
    """Close what httpcore forgets: connections that are cancelled during the TLS handshake."""
    connections = _Connections()
    try:
        yield connections
    finally:
        with anyio.CancelScope(shield=True):
            await connections.close()


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds: `Retry-After` as a number or a date (RFC 9110, 10.2.3), else what GitHub says."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    if value:
        try:
            return parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError, OSError):
            return 0.0
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
        return float(reset) - time.time()
    return 0.0
