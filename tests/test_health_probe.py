from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest
import trustme

from prx_tunnel_core.backend import Target
from prx_tunnel_core.health import Prober, probe
from prx_tunnel_core.models import Check
from support.http_server import (
    OK,
    Handler,
    free_port,
    hangs,
    repeats,
    resets,
    says,
    serve,
    status,
)

pytestmark = pytest.mark.anyio

SHORT = 0.3  # seconds: for probes that have to run into their deadline
SETTLED = 1000.0  # seconds after connecting: nothing is new any more


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)


async def ask(url: str, *, timeout: float = 30.0, connected_for: float = SETTLED) -> Check:
    check, _ = await ask_timed(url, timeout=timeout, connected_for=connected_for)
    return check


async def ask_timed(
    url: str, *, timeout: float = 30.0, connected_for: float = SETTLED
) -> tuple[Check, float | None]:
    prober = Prober(timeout=timeout)
    try:
        return await prober.public(url, connected_for=connected_for)
    finally:
        await prober.aclose()


async def ask_server(handler: Handler, *, timeout: float = 30.0) -> Check:
    async with serve(handler) as server:
        return await ask(server.url, timeout=timeout)


@pytest.mark.parametrize(
    ("line", "headers", "verdict"),
    [
        ("200 OK", {}, "ok"),
        ("404 Not Found", {"Server": "cloudflare"}, "ok"),
        ("502 Bad Gateway", {}, "unknown"),
        ("530 <none>", {"Server": "cloudflare"}, "fail"),
        ("404 Not Found", {"Ngrok_Error_Code": "ERR_NGROK_3200"}, "fail"),
    ],
)
async def test_an_answer_is_judged_by_its_status_and_headers(
    line: str, headers: dict[str, str], verdict: str
) -> None:
    check = await ask_server(status(line, **headers))
    assert check.verdict == verdict
    assert check.detail.endswith("; 127.0.0.1 is not a public address")


async def test_the_request_is_modest_and_skips_ngroks_first_page() -> None:
    async with serve(says(OK)) as server:
        await ask(f"{server.url}/hook")
    head = server.requests[0].decode().lower()
    assert head.startswith("get /hook http/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}\r\n" in head
    assert "ngrok-skip-browser-warning: 1\r\n" in head
    assert "user-agent: prx-tunnel (health check)\r\n" in head
    assert "cookie" not in head


async def test_latency_is_told_when_there_was_an_answer_of_any_kind() -> None:
    async with serve(status("530 x", Server="cloudflare")) as server:
        check, latency = await ask_timed(server.url)
    assert check.verdict == "fail"
    assert latency is not None
    assert 0 < latency < 30
    assert await ask_timed(f"http://127.0.0.1:{free_port()}") == (
        Check("public", "fail", "Connection refused"),
        None,
    )


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(hangs, id="F01-hangs"),
        pytest.param(repeats(b"X-Drip: 1\r\n", after=b"HTTP/1.1 200 OK\r\n", pause=0.05), id="F02"),
        pytest.param(repeats(b"H", pause=0.05), id="F02-status-line"),
        pytest.param(repeats(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50), id="F04-endless-1xx"),
    ],
)
async def test_whatever_never_ends_fails_at_the_deadline(handler: Handler) -> None:
    with anyio.fail_after(20):
        check = await ask_server(handler, timeout=SHORT)
    assert check.verdict == "fail"
    assert check.detail == "no answer within 0.3 s"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="endless"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", id="bomb"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="not-chunks"),
    ],
)
async def test_f03_a_body_is_never_read(head: bytes) -> None:
    async with serve(repeats(b"\x1f\x8b" * 32768, after=head)) as server:
        assert (await ask(server.url)).verdict == "ok"
        with anyio.fail_after(20):
            while not server.handled:  # the connection was closed on it
                await anyio.sleep(0.01)


@pytest.mark.parametrize("code", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_f05_f06_a_redirect_is_an_answer_and_is_not_followed(code: str) -> None:
    async with serve(says(OK)) as canary, serve(status(code, Location=canary.url)) as server:
        assert (await ask(server.url)).verdict == "ok"
    assert canary.requests == []
    for location in ("file:///etc/passwd", "/loop"):
        async with serve(status(code, Location=location)) as server:
            assert (await ask(server.url)).verdict == "ok"
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        pytest.param(
            says(b"\x00\xff SSH-2.0 garbage \x1b[31m\r\n\r\n"), "no valid HTTP", id="garbage"
        ),
        pytest.param(says(), "no valid HTTP answer", id="empty"),
        pytest.param(says(b"HTTP/1.1 20"), "no valid HTTP answer", id="half"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000), "no valid HTTP", id="huge"),
        pytest.param(resets, "Connection reset by peer", id="reset"),
    ],
)
async def test_f11_nonsense_fails_and_raises_nothing(handler: Handler, reason: str) -> None:
    check = await ask_server(handler)
    assert check.verdict == "fail"
    assert reason in check.detail
    assert check.detail.isprintable()
    assert len(check.detail) < 500


async def test_e07_a_full_backlog_fails_at_the_deadline() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        for url in (f"http://127.0.0.1:{port}", f"tcp://127.0.0.1:{port}"):
            assert await ask(url, timeout=SHORT) == Check(
                "public", "fail", "no answer within 0.3 s"
            )
        check = await Prober(timeout=SHORT).local(Target("127.0.0.1", port))
        assert check == Check("local", "fail", f"127.0.0.1:{port}: no answer within 0.3 s")


async def test_tcp_and_tls_urls_are_only_connected_to() -> None:
    async with serve(hangs) as server:
        for scheme in ("tcp", "tls"):
            assert (await ask(f"{scheme}://127.0.0.1:{server.port}")).verdict == "ok"
    assert server.requests == []
    assert (await ask(f"tcp://127.0.0.1:{free_port()}")).detail == "Connection refused"


async def test_websocket_urls_are_asked_over_http() -> None:
    async with serve(status("426 Upgrade Required")) as server:
        assert (await ask(f"ws://127.0.0.1:{server.port}/ws")).verdict == "ok"
    assert server.requests[0].startswith(b"GET /ws ")


@pytest.mark.parametrize(
    "url", ["http://[::1", "ftp://x.example", "http://", "tcp://x.example", ""]
)
async def test_what_is_no_url_to_probe_is_unknown(url: str) -> None:
    check = await ask(url)
    assert check.verdict == "unknown"
    assert "cannot be probed" in check.detail


async def test_local_sees_what_listens() -> None:
    prober = Prober()
    async with serve(hangs) as server:
        check = await prober.local(Target("127.0.0.1", server.port))
    assert check == Check("local", "ok", f"127.0.0.1:{server.port} accepts connections")
    port = free_port()
    assert await prober.local(Target("127.0.0.1", port)) == Check(
        "local", "fail", f"nothing accepts on 127.0.0.1:{port}: Connection refused"
    )


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


def server_side(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


async def ask_tls(certificate: trustme.LeafCert) -> Check:
    async with serve(says(OK), tls=server_side(certificate)) as server:
        return await ask(server.url)


@pytest.mark.usefixtures("trusted")
async def test_f18_a_valid_certificate_is_fine(authority: trustme.CA) -> None:
    assert (await ask_tls(authority.issue_cert("127.0.0.1"))).verdict == "ok"


async def test_f18_an_unknown_authority_fails(authority: trustme.CA) -> None:
    check = await ask_tls(authority.issue_cert("127.0.0.1"))
    assert check.verdict == "fail"
    assert check.detail.startswith("the TLS certificate is not valid: ")


@pytest.mark.usefixtures("trusted")
async def test_f18_another_hosts_certificate_fails(authority: trustme.CA) -> None:
    check = await ask_tls(authority.issue_cert("agent.example.com"))
    assert check.verdict == "fail"
    assert "mismatch" in check.detail


@pytest.mark.usefixtures("trusted")
async def test_f18_an_expired_certificate_fails(authority: trustme.CA) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificate = authority.issue_cert(
        "127.0.0.1", not_before=yesterday - timedelta(days=1), not_after=yesterday
    )
    check = await ask_tls(certificate)
    assert check.verdict == "fail"
    assert "expired" in check.detail


async def test_a_server_that_does_not_speak_tls_fails() -> None:
    """Also proves that the connection is closed: one that is not is a warning, so an error."""
    async with serve(hangs) as silent:
        check = await ask(f"https://127.0.0.1:{silent.port}", timeout=SHORT)
        assert check.detail == "no answer within 0.3 s"
        with anyio.fail_after(20):
            while not silent.handled:
                await anyio.sleep(0.01)
    async with serve(says(b"220 not TLS\r\n"), greets=True) as server:
        check = await ask(f"https://127.0.0.1:{server.port}")
    assert check.verdict == "fail"
    assert "TLS failed" in check.detail


async def test_f20_the_tls_context_is_built_once_and_not_on_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import httpx

    threads: list[threading.Thread] = []
    build = httpx.create_ssl_context

    def recorded() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        return build()

    monkeypatch.setattr(httpx, "create_ssl_context", recorded)
    prober = Prober()
    async with serve(says(OK)) as server:
        for _ in range(3):
            check, _ = await prober.public(server.url, connected_for=0)
            assert check.verdict == "ok"
    await prober.aclose()
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_missing_certificates_are_our_own_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    check = await ask(f"https://127.0.0.1:{free_port()}")
    assert check.verdict == "unknown"
    assert "not probed" in check.detail


# --- names -------------------------------------------------------------------------------------

NAME = "agent.example.com"
AddressInfo: TypeAlias = list[tuple[int, int, int, str, tuple[str, int]]]


@dataclass
class Resolver:
    """In the place of `socket.getaddrinfo`, for one name."""

    asked: list[str] = field(default_factory=list)
    error: socket.gaierror | None = None
    gate: threading.Event = field(default_factory=threading.Event)

    def __call__(self, host: str | bytes, port: int, *args: int, **options: int) -> AddressInfo:
        name = host if isinstance(host, str) else host.decode()
        if name != "127.0.0.1":  # an address; asyncio and trio ask for it all the same
            self.asked.append(name)
        assert self.gate.wait(60)
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    resolver.gate.set()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    # The verdict of these tests is not to depend on the network of the machine that runs them.
    monkeypatch.setattr(probe, "online", lambda: True)
    yield resolver
    resolver.gate.set()


async def test_a_name_is_not_looked_up_in_the_first_seconds(resolver: Resolver) -> None:
    check = await ask(f"https://{NAME}", connected_for=14.9)
    assert check.verdict == "unknown"
    assert "looked up 15 s after connecting" in check.detail
    assert resolver.asked == []
    async with serve(says(OK)) as server:
        url = f"http://{NAME}:{server.port}"
        assert await ask(url, connected_for=15.0) == Check("public", "ok", "HTTP 200")
    assert set(resolver.asked) == {NAME}


async def test_what_needs_no_look_up_is_asked_at_once(resolver: Resolver) -> None:
    async with serve(says(OK)) as server:
        for host in ("127.0.0.1", "localhost"):
            check = await ask(f"http://{host}:{server.port}", connected_for=0.0)
            assert check.verdict == "ok"
    assert NAME not in resolver.asked


@pytest.mark.parametrize(
    ("code", "connected_for", "verdict"),
    [
        (socket.EAI_NONAME, 20.0, "unknown"),
        (socket.EAI_NONAME, 179.0, "unknown"),
        (socket.EAI_NONAME, 180.0, "fail"),
        (socket.EAI_NODATA, 179.0, "unknown"),
        (socket.EAI_NODATA, 180.0, "fail"),
        (socket.EAI_AGAIN, 20.0, "unknown"),
        (socket.EAI_AGAIN, 10_000.0, "unknown"),
        (socket.EAI_FAIL, 10_000.0, "unknown"),
    ],
)
@pytest.mark.parametrize("scheme", ["https", "tcp"])
async def test_e06_a_name_that_does_not_resolve(
    resolver: Resolver, scheme: str, code: int, connected_for: float, verdict: str
) -> None:
    resolver.error = socket.gaierror(code, "the resolver's own words")
    check = await ask(f"{scheme}://{NAME}:8443", connected_for=connected_for)
    assert check.verdict == verdict
    assert "name" in check.detail


async def test_e05_a_slow_resolver_blocks_nobody(resolver: Resolver) -> None:
    resolver.gate.clear()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.01)
            ticks += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        check = await ask(f"https://{NAME}", timeout=SHORT)
        tasks.cancel_scope.cancel()
    assert check == Check("public", "fail", "no answer within 0.3 s")
    assert ticks >= 3


def test_e05_a_slow_resolver_does_not_keep_the_process(anyio_backend_name: str) -> None:
    code = f"""
import anyio, socket, threading
from prx_tunnel_core.health import Prober
socket.getaddrinfo = lambda *a, **k: threading.Event().wait()
async def main():
    check, latency = await Prober(timeout=0.1).public("https://{NAME}", connected_for=1000)
    print(check.detail)
anyio.run(main, backend={anyio_backend_name!r})
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert "no answer" in result.stdout or "offline" in result.stdout
    assert result.stderr == ""


# --- this machine ------------------------------------------------------------------------------


async def test_e04_a_failure_while_offline_is_not_the_tunnels(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "online", lambda: False)
    check = await ask(f"https://{NAME}:{free_port()}")
    assert check == Check("public", "unknown", "this machine is offline: Connection refused")
    check = await ask(f"https://127.0.0.1:{free_port()}")
    assert check == Check("public", "fail", "Connection refused")


async def test_e11_loopback_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    assert (await ask_server(says(OK))).verdict == "ok"


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
async def test_e11_others_are_asked_through_the_proxy_of_the_environment(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    async with serve(says(OK)) as proxy:
        monkeypatch.setenv(variable, f"127.0.0.1:{proxy.port}")
        assert await ask(f"http://{NAME}/hook") == Check("public", "ok", "HTTP 200")
        assert proxy.requests[0].startswith(f"GET http://{NAME}/hook HTTP/1.1".encode())
    assert NAME not in resolver.asked
    async with serve(says(OK)) as server:
        monkeypatch.setenv("no_proxy", "example.com")
        assert (await ask(f"http://{NAME}:{server.port}")).verdict == "ok"


@pytest.mark.parametrize(
    "address",
    ["http://user:hunter22@127.0.0.1:1", "ftp://user:hunter22@127.0.0.1:1", "http://[::1"],
)
async def test_e11_a_proxy_that_does_not_work_is_our_own_trouble(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("https_proxy", address)
    check = await ask(f"https://{NAME}")
    assert check.verdict == "unknown"
    assert "hunter22" not in check.detail


async def test_e11_a_refusal_by_the_proxy_is_unknown(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(status("407 Proxy Authentication Required")) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        assert (await ask(f"https://{NAME}")).verdict == "unknown"
        assert (await ask(f"http://{NAME}")).verdict == "unknown"
    assert proxy.requests[0].startswith(f"CONNECT {NAME}:443 ".encode())


async def test_a_probe_can_be_cancelled() -> None:
    async with serve(hangs) as server:
        prober = Prober(timeout=60)
        with anyio.move_on_after(SHORT) as scope:
            await prober.public(server.url, connected_for=0)
        assert scope.cancelled_caught
        await prober.aclose()


def test_httpx_is_imported_by_the_first_probe_only() -> None:
    code = "import sys; from prx_tunnel_core.health import Prober; Prober(); print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert {"httpx", "pydantic", "asyncio"}.isdisjoint(result.stdout.split())
