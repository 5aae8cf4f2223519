from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import anyio.abc
import pytest
from cloudflare_kit import recordings
from prx_tunnel_cloudflare import metrics as module
from prx_tunnel_cloudflare.metrics import Metrics, NoAnswer, Registrations

pytestmark = pytest.mark.anyio

CONNECTOR = "94bb62c9-d19b-4b6e-80b9-8de68ad81ed9"
Serve = Callable[[bytes], AbstractAsyncContextManager[Metrics]]


@asynccontextmanager
async def serve(answer: bytes, *, close: bool = True) -> AsyncIterator[Metrics]:
    """A server on this machine that says these bytes to everybody."""

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            with anyio.move_on_after(30):
                await stream.send(answer)
                if not close:
                    await anyio.sleep_forever()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, handle)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        yield Metrics(port, CONNECTOR)
        tasks.cancel_scope.cancel()


def ok(body: str, status: int = 200) -> bytes:
    head = f"HTTP/1.0 {status} X\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    return (head + body).encode()


def recorded(name: str, path: str) -> list[tuple[int, str]]:
    return recordings.runs(name)[0].answers[path]


async def test_ready_as_recorded() -> None:
    answers = recorded("c01-quick-success-quic-text", "/ready")
    counts = []
    for status, body in answers:
        async with serve(ok(body, status)) as metrics:
            counts.append(await metrics.edge_connections())
    assert counts == [0, 1, 1]


async def test_registrations_as_recorded() -> None:
    file = (recordings.FOLDER / "d18-metrics-full.txt").read_text()
    text = re.sub(r"^\[ *[0-9.]+\]      ", "", file, flags=re.MULTILINE)
    assert "cloudflared_tunnel_tunnel_register_success" in text
    async with serve(ok(text)) as metrics:
        assert await metrics.registrations() == Registrations(succeeded=4, refused=0)


async def test_refused_registrations() -> None:
    name = "cloudflared_tunnel_tunnel_register_fail"
    text = (
        f'{name}{{error="server_error",rpcName="registerConnection"}} 3\n'
        f'{name}{{error="dup_edge_conn",rpcName="registerConnection"}} 5\n'
        f'{name}_other{{error="server_error"}} 7\n'
        'cloudflared_tunnel_tunnel_register_success{rpcName="registerConnection"} 1e+06\n'
    )
    async with serve(ok(text)) as metrics:
        assert await metrics.registrations() == Registrations(succeeded=1_000_000, refused=3)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.0 200 OK\r\n",
        ok("<html>"),
        ok("[]"),
        ok("[" * 100_000),
        ok('{"readyConnections":4}', 404),
        ok('{"readyConnections":4,"connectorId":"another"}'),
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\xff" * 5000,
    ],
)
async def test_it_is_not_our_cloudflared(answer: bytes) -> None:
    async with serve(answer) as metrics:
        with pytest.raises(NoAnswer):
            await metrics.edge_connections()


@pytest.mark.parametrize("count", ["true", "-1", '"4"', "null", "4.5"])
async def test_a_strange_count_is_none(count: str) -> None:
    body = f'{{"readyConnections":{count},"connectorId":"{CONNECTOR}"}}'
    async with serve(ok(body)) as metrics:
        assert await metrics.edge_connections() == 0


async def test_old_versions_name_no_connector() -> None:
    async with serve(ok('{"status":200,"readyConnections":2}')) as metrics:
        assert await metrics.edge_connections() == 2


async def test_it_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    async with serve(b"HTTP/1.0 200 OK\r\n\r\n{", close=False) as metrics:
        with anyio.fail_after(5), pytest.raises(NoAnswer):
            await metrics.edge_connections()


async def test_it_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST", 100_000)
    async with serve(ok("x" * 1_000_000)) as metrics:
        with pytest.raises(NoAnswer):
            await metrics.registrations()


async def test_nobody_listens(free_port: int) -> None:
    with pytest.raises(NoAnswer):
        await Metrics(free_port).edge_connections()
