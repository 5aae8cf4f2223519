"""Probes a tunnel from outside: one request to its public URL, one connection to its local port."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import anyio

from prx_tunnel_core._health.checks import require_check
from prx_tunnel_core._health.local_port import knock
from prx_tunnel_core._health.network import explain, online, resolve
from prx_tunnel_core._isolation import LONGEST_REASON, call_in_thread, describe
from prx_tunnel_core.backend import Backend, Target
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Check, Verdict
from prx_tunnel_core.text import one_line
from prx_tunnel_core.urls import DEFAULT_PORTS, SCHEMES, ip, is_loopback, is_public

if TYPE_CHECKING:
    import httpx

logger = get_logger(__name__)

# Providers publish the record of a new name up to 5 seconds after they announce it. Resolvers cache
# the answer to an earlier look-up, "no such name", for up to half an hour.
FIRST_LOOK_UP = 15.0  # seconds after connecting
NAME_IS_NEW = 180.0  # seconds after connecting in which a missing name is not a failure
PREPARATION = 10.0  # seconds to import an HTTP client and read the certificates

MARK = "x-prx-tunnel-probe"
"""The header by which an application in this process recognises the probes of its own tunnel.

Its value is good for one request: anybody can send a header of a fixed value, and a visitor's
request would pass for a probe.
"""

_HEADERS = {"User-Agent": "prx-tunnel (health check)", "Accept": "*/*"}


class Prober:
    """Probes one tunnel; the HTTP transport and the TLS context are created once.

    `timeout`: seconds that one probe may take, including look-up and TLS, without the preparation
    of the first one. `backend` recognises its provider's own pages, and may need headers in the
    request. No probe raises.
    """

    def __init__(self, *, timeout: float = 10.0, backend: Backend[Any] | None = None) -> None:
        self._timeout = timeout
        self._backend = backend
        self._transports: dict[str | None, httpx.AsyncHTTPTransport] = {}

    async def aclose(self) -> None:
        while self._transports:
            _, transport = self._transports.popitem()
            await transport.aclose()

    async def local(self, target: Target) -> Check:
        """Whether something accepts connections on the local port."""
        try:
            with anyio.fail_after(self._timeout):
                await knock(target.host, target.port)
        except TimeoutError:
            return Check("local", "fail", f"{target.authority}: {self._too_slow()}")
        except OSError as error:
            verdict, reason = explain(error)
            return Check("local", verdict, f"nothing accepts on {target.authority}: {reason}")
        return Check("local", "ok", f"{target.authority} accepts connections")

    async def public(self, url: str, *, connected_for: float) -> tuple[Check, float | None]:
        """Whether the public URL answers, and after how many seconds.

        Any answer of the user's application is `ok`. Failures of this machine or its proxy, and
        names that are too new to be known everywhere, are `unknown`; so are 502 to 504, with which
        a proxy on the way answers when the application does not. `connected_for`: seconds since the
        tunnel came up.
        """
        try:
            # In a thread, because reading the proxies imports modules for 40 ms.
            address = await call_in_thread(partial(_Address.of, url))
        except ValueError as error:
            return Check("public", "unknown", f"{url!r} cannot be probed: {error}"), None
        if connected_for < FIRST_LOOK_UP and not (address.is_literal or is_loopback(address.host)):
            reason = (
                f"{address.host} is looked up {FIRST_LOOK_UP:g} s after connecting: resolvers "
                "could cache for long that the name does not exist yet"
            )
            return Check("public", "unknown", reason), None
        try:
            await self._prepare(address)
            started = anyio.current_time()
            with anyio.fail_after(self._timeout):
                verdict, reason = await self._ask(address)
        except Exception as error:  # noqa: BLE001 - no probe raises, whatever the other side sends
            verdict, reason = self._explain(error, address, connected_for)
            return Check("public", verdict, reason), None
        if not is_public(address.host):
            reason = f"{reason}; {address.host} is not a public address"
        return Check("public", verdict, reason), anyio.current_time() - started

    async def _ask(self, address: _Address) -> tuple[Verdict, str]:
        if not (address.proxy or address.is_literal):
            await resolve(address.host, address.port)
        if address.scheme in ("tcp", "tls"):
            await _touch(address.host, address.port)
            return "ok", "accepts connections"
        with marked() as mark:
            return await self._request(address, mark)

    async def _request(self, address: _Address, mark: Mapping[str, str]) -> tuple[Verdict, str]:
        import httpx

        # The transport and not a client: no redirects, no cookies, no credentials of the user.
        transport = self._transports[address.proxy]
        own = {} if self._backend is None else self._backend.probe_headers
        headers = {**own, **_HEADERS, **mark}

        async with _connections_closed() as trace:
            request = httpx.Request(
                "GET", address.url, headers=headers, extensions={"trace": trace}
            )
            try:
                response = await transport.handle_async_request(request)
            except httpx.ProtocolError as error:
                raise _Unanswered("fail", f"no valid HTTP answer: {describe(error)}") from error
            except httpx.NetworkError as error:
                raise ConnectionError(str(error) or "the connection broke") from error
            # The body is not needed, and may be endless.
            await response.aclose()
        return judge_response(self._backend, response.status_code, dict(response.headers))

    async def _prepare(self, address: _Address) -> None:
        """Create the transport before the clock starts, because that depends on this machine."""
        if address.scheme in ("tcp", "tls") or address.proxy in self._transports:
            return
        try:
            with anyio.fail_after(PREPARATION):
                # Importing httpx and reading the certificates would stall the loop for 150 ms.
                transport = await call_in_thread(partial(_open_transport, address.proxy))
        except TimeoutError:
            reason = f"not probed: the certificates could not be read within {PREPARATION:g} s"
            raise _Unanswered("unknown", reason) from None
        except Exception as error:  # a missing file of certificates, an invalid proxy
            raise _Unanswered("unknown", f"not probed: {describe(error)}") from error
        self._transports[address.proxy] = transport

    def _explain(
        self, error: Exception, address: _Address, connected_for: float
    ) -> tuple[Verdict, str]:
        verdict, reason = explain(error, name_is_new=connected_for < NAME_IS_NEW)
        if isinstance(error, TimeoutError):
            reason = self._too_slow()
        elif isinstance(error, _Unanswered):
            verdict, reason = error.verdict, error.reason
        if verdict == "fail" and address.proxy:
            return "unknown", f"through this machine's proxy: {reason}"
        if verdict == "fail" and not is_loopback(address.host) and not online():
            return "unknown", f"this machine is offline: {reason}"
        return verdict, reason

    def _too_slow(self) -> str:
        return f"no answer within {self._timeout:g} s"


def judge_response(
    backend: Backend[Any] | None, status: int, headers: Mapping[str, str]
) -> tuple[Verdict, str]:
    """The verdict on an answer of the public URL, and the reason; `headers` by lower-case name.

    The backend decides first: it knows the pages that its provider answers itself. A backend whose
    `classify_response` raises says nothing about the tunnel.
    """
    if backend is not None and backend.classify_response is not None:
        try:
            returned = backend.classify_response(status, headers)
            check = None if returned is None else require_check(returned)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code raises anything
            reason = f"classify_response of backend {backend.name!r} failed: {describe(error)}"
            logger.warning("%s", reason)
            return "unknown", reason
        if check is not None:
            return check.verdict, one_line(check.detail)[:LONGEST_REASON]
    if status in (502, 503, 504):
        return "unknown", f"HTTP {status}: the tunnel answered, perhaps not your application"
    if status in (407, 511):  # Proxy Authentication Required, Network Authentication Required
        return "unknown", f"HTTP {status}: this machine's network requires a login first"
    return "ok", f"HTTP {status}"


_expected: set[str] = set()  # the marks of the probes that are under way


@contextmanager
def marked() -> Iterator[dict[str, str]]:
    """The header for one request, which is recognised until the context is left."""
    mark = secrets.token_hex(16)
    _expected.add(mark)
    try:
        yield {MARK: mark}
    finally:
        _expected.discard(mark)


def take_mark(mark: str) -> bool:
    """Whether the mark belongs to a probe that is under way; it is not accepted twice."""
    if mark not in _expected:
        return False
    _expected.discard(mark)
    return True


class _Unanswered(Exception):
    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Address:
    """How a public URL is reached from this machine."""

    scheme: str
    host: str
    port: int
    url: str
    proxy: str | None

    @classmethod
    def of(cls, url: str) -> Self:
        """Raises ValueError for a URL without a known scheme, a host and a port."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"the scheme is not {', '.join(SCHEMES)}")
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        if not parts.hostname or not port:
            raise ValueError("the host or the port is missing")
        scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
        return cls(
            scheme=scheme,
            host=parts.hostname,
            port=port,
            url=parts._replace(scheme=scheme).geturl(),
            proxy=_proxy_for(scheme, parts.hostname),
        )

    @property
    def is_literal(self) -> bool:
        return ip(self.host) is not None


def _open_transport(proxy: str | None) -> httpx.AsyncHTTPTransport:
    import httpx

    certificates = httpx.create_ssl_context()
    certificates.load_default_certs()  # the system's too: a company's own authority
    # Each probe connects anew, as the next visitor does.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=certificates, limits=limits, proxy=proxy)


@asynccontextmanager
async def _connections_closed() -> AsyncIterator[Callable[[str, Mapping[str, Any]], Any]]:
    """Close the connections of one request, and yield the callback of httpcore's `trace` extension.

    httpcore does not close a connection that is cancelled during the TLS handshake.
    """
    opened: list[Any] = []

    async def trace(event: str, told: Mapping[str, Any]) -> None:
        if event.endswith(".connect_tcp.complete"):
            opened.append(told["return_value"])

    try:
        yield trace
    finally:
        with anyio.CancelScope(shield=True):
            for stream in opened:
                await stream.aclose()


async def _touch(host: str, port: int) -> None:
    stream = await anyio.connect_tcp(host, port)
    await stream.aclose()


def _proxy_for(scheme: str, host: str) -> str | None:
    """The proxy that the environment or macOS configures; None for hosts of this machine."""
    if scheme not in ("http", "https") or is_loopback(host):
        return None
    from urllib.request import getproxies, proxy_bypass

    if proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
