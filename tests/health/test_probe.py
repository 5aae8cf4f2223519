from __future__ import annotations

import socket
import subprocess
import sys

import anyio
import pytest

from prx_tunnel_core._health import Prober
from prx_tunnel_core.backend import Target
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
from support.probing import SHORT, ask, ask_server, ask_timed, installed, without_proxies

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxies(monkeypatch)


@pytest.mark.parametrize(
    ("backend", "line", "headers", "verdict"),
    [
        ("ssh", "200 OK", {}, "ok"),
        ("cloudflare", "404 Not Found", {"Server": "cloudflare"}, "ok"),
        ("ngrok", "502 Bad Gateway", {}, "unknown"),
        ("cloudflare", "530 <none>", {"Server": "cloudflare"}, "fail"),
        ("ngrok", "404 Not Found", {"Ngrok_Error_Code": "ERR_NGROK_3200"}, "fail"),
    ],
)
async def test_an_answer_is_judged_by_its_status_and_headers(
    backend: str, line: str, headers: dict[str, str], verdict: str
) -> None:
    check = await ask_server(status(line, **headers), backend=installed(backend))
    assert check.verdict == verdict
    assert check.detail.endswith("; 127.0.0.1 is not a public address")


async def test_the_request_is_modest_and_skips_ngroks_first_page() -> None:
    async with serve(says(OK)) as server:
        await ask(f"{server.url}/hook", backend=installed("ngrok"))
    head = server.requests[0].decode().lower()
    assert head.startswith("get /hook http/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}\r\n" in head
    assert "ngrok-skip-browser-warning: 1\r\n" in head
    assert "user-agent: prx-tunnel (health check)\r\n" in head
    assert "cookie" not in head


async def test_latency_is_told_when_there_was_an_answer_of_any_kind() -> None:
    async with serve(status("530 x", Server="cloudflare")) as server:
        check, latency = await ask_timed(server.url, backend=installed("cloudflare"))
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


async def test_a_probe_can_be_cancelled() -> None:
    async with serve(hangs) as server:
        prober = Prober(timeout=60)
        with anyio.move_on_after(SHORT) as scope:
            await prober.public(server.url, connected_for=0)
        assert scope.cancelled_caught
        await prober.aclose()


def test_httpx_is_imported_by_the_first_probe_only() -> None:
    code = "import sys; from prx_tunnel_core._health import Prober; Prober(); print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert {"httpx", "pydantic", "asyncio"}.isdisjoint(result.stdout.split())
