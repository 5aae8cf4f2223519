"""Webhooks that follow the tunnel, end to end: providers, relay, agent, each on real sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from prx_tunnel_core import Connected, Reconnecting, Tunnel
from support.command import Prx
from support.tunnel_scenarios import reached

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "webhooks" / "tests"))

from webhook_kit import telegram
from webhook_kit.agent import TELEGRAM_SECRET
from webhook_kit.hop import BACKEND
from webhook_kit.server import garbage, hangs, says
from webhook_kit.world import SECRETS, World

pytestmark = pytest.mark.anyio

PATIENCE = 30.0  # seconds: only a broken test waits this long
PROMISE = 5.0  # seconds between a new URL and all registrations


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


@asynccontextmanager
async def tunnel_to(world: World, anyio_backend: str) -> AsyncIterator[Tunnel]:
    """Through the embedded SSH relay, which needs asyncio, and on trio through a plain one."""
    config = {
        "backend": "ssh" if anyio_backend == "asyncio" else "hop",
        "local_port": world.agent.port,
        "reconnect": {"backoff_base_ms": 600, "backoff_max_ms": 1000},
    }
    own = None if anyio_backend == "asyncio" else BACKEND
    async with Tunnel(config, backend=own, tables=world.tables) as tunnel:
        with anyio.fail_after(PATIENCE):
            await tunnel.start()
        yield tunnel


async def all_registered(tunnel: Tunnel) -> None:
    """Return when every registration says that it has the tunnel's URL."""
    assert tunnel.info is not None
    words = f"registered {tunnel.info.public_url}/"
    with anyio.fail_after(PATIENCE):
        while not all(
            state.startswith(words) for state in tunnel.observer_states["webhooks"].values()
        ):
            await anyio.sleep(0.01)


async def take(url: str) -> socket.socket:
    """Occupy the port of that URL as soon as it is free, so that the relay has to take another."""
    blocker = socket.socket()
    blocker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                blocker.bind(("127.0.0.1", int(url.rpartition(":")[2])))
            except OSError:
                await anyio.sleep(0.005)
            else:
                blocker.listen()
                return blocker


async def test_m10_after_a_new_url_signed_webhooks_arrive_again(
    world: World, anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with tunnel_to(world, anyio_backend) as tunnel:
        await all_registered(tunnel)
        await anyio.to_thread.run_sync(world.deliver)
        assert tunnel.info is not None
        first = tunnel.info.public_url
        statuses = tunnel.watch()
        assert await tunnel.abort()
        await reached(statuses, Reconnecting)
        with await take(first):
            second = (await reached(statuses, Connected)).info.public_url
            began = time.monotonic()
            await all_registered(tunnel)
            assert time.monotonic() - began < PROMISE
            assert second != first
            assert all(url.startswith(f"{second}/") for url in world.registered())
            assert len(world.registered()) == 5  # none beside the one that was there
            await anyio.to_thread.run_sync(world.deliver)
    for secret in SECRETS:
        assert secret not in caplog.text


async def test_whatever_is_wrong_with_the_providers_the_tunnel_stays_up(
    world: World, anyio_backend: str
) -> None:
    world.telegram.fault = says(429, {"ok": False, "parameters": {"retry_after": 1}})
    world.github.fault = says(401, {"message": "Bad credentials"})
    world.slack.fault = hangs
    world.own.stop()
    async with tunnel_to(world, anyio_backend) as tunnel:
        reasons = {
            "bot": "failed: 127.0.0.1 answered 429 Too Many Requests",
            "repo": "failed: 127.0.0.1 answered 401 Unauthorized: Bad credentials",
            "org": "failed: 127.0.0.1 answered 401 Unauthorized",
            "app": "failed: no answer within 1 s",
            "own": "failed: no answer from 127.0.0.1: ",
        }
        with anyio.fail_after(PATIENCE):
            for name, reason in reasons.items():
                while not tunnel.observer_states["webhooks"].get(name, "").startswith(reason):
                    await anyio.sleep(0.01)
        world.github.fault = garbage
        assert isinstance(tunnel.status, Connected)
        assert (await tunnel.health_check()).verdict == "healthy"
        world.slack.closing.set()  # those that hang
        for server in (world.telegram, world.github, world.slack):
            server.fault = None
        world.own.start()
        await all_registered(tunnel)
        await anyio.to_thread.run_sync(world.deliver)


@pytest.fixture
def prx(tmp_path: Path) -> Iterator[Prx]:
    runner = Prx(tmp_path)
    try:
        yield runner
    finally:
        runner.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # prx runs in a process of its own
async def test_status_and_health_of_the_command_show_each_registration(
    world: World, prx: Prx
) -> None:
    world.telegram.fault = says(500, {"description": "oops"})
    prx.config.write_text(
        f"""
        [tunnel]
        backend = "ssh"
        local_port = {world.agent.port}

        [webhooks.bot]
        kind = "telegram"
        path = "/telegram"
        token = "${{BOT_TOKEN}}"
        secret = "${{BOT_SECRET}}"
        api_url = "{world.telegram.url}"
        backoff_base_ms = 50
        backoff_max_ms = 100
        remove_on_stop = true
        """
    )
    environ = {"BOT_TOKEN": telegram.TOKEN, "BOT_SECRET": TELEGRAM_SECRET}
    process = prx.start(environ=environ)
    await world.telegram.until(lambda: len(world.telegram.asked) >= 2)
    reason = "webhooks: bot failed: 127.0.0.1 answered 500 Internal Server Error: oops; next try in"
    assert reason in prx("tunnel", "status").stdout
    assert reason in prx("tunnel", "health").stdout
    world.telegram.fault = None
    await world.telegram.until(lambda: world.telegram.webhook)
    url = world.telegram.webhook["url"]
    assert prx.status()["observers"] == {"webhooks": {"bot": f"registered {url}"}}
    health = json.loads(prx("tunnel", "health", "--json").stdout)
    assert health["observers"] == {"webhooks": {"bot": f"registered {url}"}}
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 0
    assert world.telegram.webhook == {}
    assert telegram.TOKEN not in errors
    assert "is stored in the file in plain text" not in errors


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_mistake_in_the_table_is_found_before_anything_is_opened(prx: Prx) -> None:
    text = prx.config.read_text()
    prx.config.write_text(f'{text}\n[webhooks.bot]\nkind = "telegramm"\n')
    done = prx("tunnel", "start")
    assert done.returncode == 2
    assert "webhooks.bot.kind: 'telegramm' is not known; did you mean 'telegram'?" in done.stderr
