from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx
import pytest
import trustme

from prx_tunnel_core._health import Prober, probe
from prx_tunnel_core.models import Check
from support.http_server import (
    OK,
    free_port,
    hangs,
    says,
    serve,
)
from support.probing import SHORT, ask, without_proxies

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)


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


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until it is set, this machine is busy reading certificates."""
    gate = threading.Event()
    open_transport = probe._open_transport

    def busy(proxy: str | None) -> httpx.AsyncHTTPTransport:
        gate.wait()
        return open_transport(proxy)

    monkeypatch.setattr(probe, "_open_transport", busy)
    yield gate
    gate.set()


async def test_what_this_machine_takes_to_prepare_is_not_the_other_sides_time(
    prepared: threading.Event,
) -> None:
    async def be_late() -> None:
        await anyio.sleep(2 * SHORT)
        prepared.set()

    async with serve(says(OK)) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(be_late)
        check = await ask(server.url, timeout=SHORT)
    assert check.verdict == "ok"


@pytest.mark.usefixtures("prepared")
async def test_certificates_that_cannot_be_read_in_time_are_our_own_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "PREPARATION", SHORT)
    assert await ask(f"https://127.0.0.1:{free_port()}") == Check(
        "public", "unknown", "not probed: the certificates could not be read within 0.3 s"
    )
