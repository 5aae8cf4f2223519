from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from prx_tunnel_core._health import probe
from prx_tunnel_core.models import Check
from support.http_server import (
    OK,
    free_port,
    says,
    serve,
    status,
)
from support.probing import Resolver, a_slow_resolver_blocks_nobody, ask, ask_server

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_proxies")]


# --- names -------------------------------------------------------------------------------------

NAME = "agent.example.com"


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
    await a_slow_resolver_blocks_nobody(resolver, NAME)


def test_e05_a_slow_resolver_does_not_keep_the_process(anyio_backend_name: str) -> None:
    code = f"""
import anyio, socket, threading
from prx_tunnel_core._health import Prober
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
