"""F: whatever the public URL answers, the verdict comes in time and without an exception."""

from __future__ import annotations

import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme

from prx_tunnel_core import Backend, Check, TunnelHealth
from prx_tunnel_core._health import Prober
from support.faults import Cloudflared, both_loops, of_plugin, tunnel_to
from support.http_server import (
    OK,
    Handler,
    RawServer,
    free_port,
    hangs,
    repeats,
    resets,
    says,
    serve,
    status,
)
from support.probing import SHORT, installed, without_proxies

pytestmark = pytest.mark.anyio

TOO_SLOW = Check("public", "fail", "no answer within 0.3 s")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)


async def health_of(
    handler: Handler,
    *,
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
    backend: Backend[Any] | None = None,
) -> tuple[TunnelHealth, RawServer]:
    """What a tunnel says of itself whose public URL is answered like that; its app listens."""
    async with (
        serve(handler, tls=tls) as server,
        serve(hangs) as app,
        tunnel_to(server.url, app.port, Prober(timeout=timeout, backend=backend)) as tunnel,
    ):
        await tunnel.start()
        with anyio.fail_after(20):
            return await tunnel.health_check(), server


async def public(handler: Handler, **options: Any) -> Check:
    health, _ = await health_of(handler, **options)
    check = health.check("public")
    assert check is not None
    assert (health.verdict == "unhealthy") == (check.verdict == "fail")
    return check


@both_loops
async def test_f01_an_answer_that_never_comes() -> None:
    assert await public(hangs, timeout=SHORT) == TOO_SLOW


@both_loops
async def test_f02_a_header_that_never_ends() -> None:
    drip = repeats(b"X-Drip: 1\r\n", after=b"HTTP/1.1 200 OK\r\n", pause=0.05)
    assert await public(drip, timeout=SHORT) == TOO_SLOW


@both_loops
@pytest.mark.parametrize("head", [b"", b"Content-Encoding: gzip\r\n"], ids=["endless", "bomb"])
async def test_f03_a_body_is_never_read(head: bytes) -> None:
    body = repeats(b"\x1f\x8b" * 32768, after=b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
    async with serve(body) as server, tunnel_to(server.url, free_port(), Prober()) as tunnel:
        await tunnel.start()
        health = await tunnel.health_check()
        check = health.check("public")
        assert check is not None
        assert check.verdict == "ok"
        with anyio.fail_after(20):
            while not server.handled:  # the connection was closed on it
                await anyio.sleep(0.01)


async def test_f04_hints_without_end() -> None:
    hints = repeats(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50)
    assert await public(hints, timeout=SHORT) == TOO_SLOW


async def test_f05_a_redirect_is_an_answer_and_leads_nowhere() -> None:
    async with serve(says(OK)) as canary:
        assert (await public(status("302 Found", Location=canary.url))).verdict == "ok"
    assert canary.requests == []


@pytest.mark.parametrize("location", ["/loop", "file:///etc/passwd", "//[", "gopher://x"])
async def test_f06_neither_loops_nor_files_are_followed(location: str) -> None:
    health, server = await health_of(status("301 Moved", Location=location))
    assert health.verdict == "healthy"
    assert len(server.requests) == 1


async def test_f07_a_network_that_wants_a_login_is_no_verdict() -> None:
    login = await public(status("511 Network Authentication Required"))
    assert login.verdict == "unknown"


@pytest.mark.parametrize("code", ["401 No", "403 No", "404 No", "405 No", "418 Tea", "500 Oops"])
async def test_f08_any_answer_of_the_application_is_one(code: str) -> None:
    health, _ = await health_of(status(code))
    assert health.verdict == "healthy"


async def test_f09_a_closed_local_port_degrades_and_restarts_nothing() -> None:
    async with serve(status("502 Bad Gateway")) as server:
        tunnel = tunnel_to(server.url, free_port(), Prober(), every=0.01, health_check_failures=1)
        async with tunnel:
            statuses = tunnel.watch()
            await tunnel.start()
            while len(server.requests) < 4:
                await anyio.sleep(0.01)
            assert tunnel.last_health is not None
            assert tunnel.last_health.verdict == "degraded"
            local = tunnel.last_health.check("local")
            assert local is not None
            assert local.verdict == "fail"
        seen = [type(each).__name__ async for each in statuses]
    assert seen == ["Idle", "Connecting", "Connected", "Stopped"]


@pytest.mark.parametrize(
    ("backend", "line", "headers"),
    [
        ("cloudflare", "530 <none>", {"Server": "cloudflare"}),
        ("ngrok", "404 Not Found", {"Ngrok_Error_Code": "ERR_NGROK_3200"}),
    ],
)
async def test_f10_a_providers_own_error_page_fails(
    backend: str, line: str, headers: dict[str, str]
) -> None:
    answer = status(line, **headers)
    assert (await public(answer, backend=installed(backend))).verdict == "fail"


async def test_f10_no_edge_connection_fails_when_the_programs_own_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its /ready says 503."""
    from prx_tunnel_cloudflare import connection

    cloudflared = Cloudflared(tmp_path)
    async with cloudflared.tunnel() as tunnel:
        info = await tunnel.start()
        order = of_plugin("cloudflare", "cloudflare_kit.installed").order
        await order(info.details["metrics"], "drop")
        assert (await tunnel.health_check()).verdict == "degraded"
        monkeypatch.setattr(connection, "RECOVERY", 0.0)
        health = await tunnel.health_check()
    assert health.verdict == "unhealthy"
    provider = health.check("provider")
    assert provider is not None
    assert "no edge connection" in provider.detail


@both_loops
@pytest.mark.parametrize(
    "handler",
    [
        says(b"\x00\xff SSH-2.0 garbage \x1b[31m\r\n\r\n"),
        says(),
        says(b"HTTP/1.1 20"),
        says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n"),
        resets,
    ],
    ids=["garbage", "empty", "half", "huge header", "no length", "reset"],
)
async def test_f11_nonsense_fails_and_raises_nothing(handler: Handler) -> None:
    check = await public(handler)
    assert check.verdict == "fail"
    assert check.detail.isprintable()
    assert len(check.detail) < 500


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("trusted")
async def test_f18_a_certificate_is_looked_at(authority: trustme.CA) -> None:
    good = await public(says(OK), tls=server_side(authority.issue_cert("127.0.0.1")))
    assert good.verdict == "ok"
    other = await public(says(OK), tls=server_side(authority.issue_cert("agent.example.com")))
    assert other.verdict == "fail"
    assert "mismatch" in other.detail
    yesterday = datetime.now(UTC) - timedelta(days=1)
    old = authority.issue_cert(
        "127.0.0.1", not_before=yesterday - timedelta(days=1), not_after=yesterday
    )
    expired = await public(says(OK), tls=server_side(old))
    assert expired.verdict == "fail"
    assert "expired" in expired.detail


async def test_f18_an_unknown_authority_fails(authority: trustme.CA) -> None:
    check = await public(says(OK), tls=server_side(authority.issue_cert("127.0.0.1")))
    assert check.verdict == "fail"
    assert check.detail.startswith("the TLS certificate is not valid: ")


@both_loops
async def test_f20_the_tls_context_is_made_once_and_not_on_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import httpx

    threads: list[threading.Thread] = []
    build = httpx.create_ssl_context

    def recorded() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        return build()

    monkeypatch.setattr(httpx, "create_ssl_context", recorded)
    async with (
        serve(says(OK)) as server,
        serve(hangs) as app,
        tunnel_to(server.url, app.port, Prober()) as tunnel,
    ):
        await tunnel.start()
        for _ in range(3):
            assert (await tunnel.health_check()).verdict == "healthy"
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()
