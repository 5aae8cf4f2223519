"""Webhooks that follow the tunnel, end to end: providers, relay, agent, each on real sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.abc
import pytest
import uvicorn
from prx_tunnel_webhooks import verify
from prx_tunnel_webhooks.verify.asgi import App, Receive, Scope, Send

from prx_tunnel_core import (
    Backend,
    BackendConfig,
    Connected,
    Connection,
    Reconnecting,
    Target,
    Tunnel,
)
from support.command import Prx
from support.tunnel_scenarios import reached

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "webhooks" / "tests"))

from webhook_kit import endpoints, github, slack, telegram
from webhook_kit.server import garbage, hangs, says

pytestmark = pytest.mark.anyio

PATIENCE = 30.0  # seconds: only a broken test waits this long
PROMISE = 5.0  # seconds between a new URL and all registrations
TELEGRAM_SECRET = "telegram-secret-canary"
GITHUB_SECRET = "github-secret-canary"
REPO, ORG = "repos/example/agent", "orgs/example"
SECRETS = (TELEGRAM_SECRET, GITHUB_SECRET, telegram.TOKEN, github.TOKEN, slack.TOKEN, endpoints.KEY)


class Agent:
    """Takes only what its providers signed; a real server in a thread of its own."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, Any]] = []
        app: App = self._take
        for path, scheme, secret in (
            ("/telegram", verify.telegram, TELEGRAM_SECRET),
            ("/github", verify.github, GITHUB_SECRET),
            ("/slack", verify.slack, slack.SIGNING_SECRET),
            ("/own", verify.standard_webhooks, endpoints.SIGNING_SECRET),
        ):
            app = verify.VerifiedWebhooks(app, path, scheme, secret)
        config = uvicorn.Config(
            app, port=0, ws="none", lifespan="off", log_level="critical", timeout_keep_alive=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + PATIENCE
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        event = json.loads((await receive())["body"] or b"{}")
        answer = event.get("challenge", "").encode()
        if not answer:
            self.arrived.append((scope["path"], event))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})


class World:
    """Every provider, and the tables of a configuration that has a webhook at each."""

    def __init__(self, stack: ExitStack) -> None:
        self.telegram = stack.enter_context(telegram.TelegramServer())
        self.github = stack.enter_context(github.GitHubServer())
        self.slack = stack.enter_context(slack.SlackServer())
        self.own = stack.enter_context(endpoints.EndpointServer())
        self.agent = stack.enter_context(Agent())
        self.github.hooks = {REPO: {}, ORG: {}}
        self.slack.asks_the_url = True

    @property
    def tables(self) -> dict[str, Any]:
        at_github = {"token": github.TOKEN, "secret": GITHUB_SECRET, "api_url": self.github.url}
        hooks: dict[str, dict[str, Any]] = {
            "bot": {
                "kind": "telegram",
                "path": "/telegram",
                "token": telegram.TOKEN,
                "secret": TELEGRAM_SECRET,
                "api_url": self.telegram.url,
            },
            "repo": {
                "kind": "github",
                "path": "/github",
                "repository": "example/agent",
                **at_github,
            },
            "org": {
                "kind": "github-organisation",
                "path": "/github/org",
                "organisation": "example",
                **at_github,
            },
            "app": {
                "kind": "slack",
                "path": "/slack",
                "app_id": slack.APP,
                "token": slack.TOKEN,
                "api_url": self.slack.url,
            },
            "own": {
                "kind": "http",
                "path": "/own",
                "method": "PUT",
                "url": f"{self.own.url}/endpoints/agent",
                "headers": {"Authorization": "Bearer {key}"},
                "body": {"url": "{url}"},
                "secrets": {"key": endpoints.KEY},
            },
        }
        fast = {"backoff_base_ms": 50, "backoff_max_ms": 200, "timeout": 2.0}
        return {"webhooks": {name: {**fast, **hook} for name, hook in hooks.items()}}

    def registered(self) -> list[str]:
        """What each provider has now."""
        hooks = [
            hook["config"]["url"] for o in (REPO, ORG) for hook in self.github.hooks[o].values()
        ]
        own = [self.own.endpoints.get("agent", "")]
        return [self.telegram.webhook.get("url", ""), *hooks, self.slack.request_url, *own]

    def deliver(self) -> None:
        """Each provider sends a signed webhook to where it was told, and a stranger one as well."""
        before = len(self.agent.arrived)
        strangers = [
            self.telegram.deliver("hello", secret="wrong-secret"),
            self.github.deliver(REPO, {"ref": "x"}, secret="wrong-secret"),
        ]
        assert [status for status, _ in strangers] == [401, 401]
        sent = [
            self.telegram.deliver("Grüße"),
            self.github.deliver(REPO, {"ref": "refs/heads/ü"}),
            self.github.deliver(ORG, {"ref": "refs/heads/org"}),
            self.slack.deliver({"type": "event_callback", "event_id": f"Ev{before}"}),
            self.own.deliver("agent", {"type": "invoice.paid"}),
        ]
        assert [status for status, _ in sent] == [200] * 5
        paths = [path for path, _ in self.agent.arrived[before:]]
        assert paths == ["/telegram", "/github", "/github/org", "/slack", "/own"]


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


class Hop(Connection):
    """A relay for every event loop: a port on loopback, another after each drop."""

    def __init__(self, port: int) -> None:
        self.public_url = f"http://127.0.0.1:{port}"
        self._severed = anyio.Event()

    async def wait_closed(self) -> str:
        await self._severed.wait()
        return "severed"

    async def sever(self) -> bool:
        self._severed.set()
        return True


@asynccontextmanager
async def hop(_config: BackendConfig, target: Target) -> AsyncIterator[Connection]:
    async def forward(visitor: anyio.abc.SocketStream) -> None:
        local = await anyio.connect_tcp(target.host, target.port)
        async with visitor, local, anyio.create_task_group() as tasks:
            tasks.start_soon(copy, visitor, local)
            await copy(local, visitor)
            tasks.cancel_scope.cancel()

    async def copy(source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream) -> None:
        async for chunk in source:
            await sink.send(chunk)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, forward)
        yield Hop(listener.extra(anyio.abc.SocketAttribute.local_port))
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def tunnel_to(world: World, anyio_backend: str) -> AsyncIterator[Tunnel]:
    """Through the embedded SSH relay, which needs asyncio, and on trio through a plain one."""
    config = {
        "backend": "ssh" if anyio_backend == "asyncio" else "hop",
        "local_port": world.agent.port,
        "reconnect": {"backoff_base_ms": 600, "backoff_max_ms": 1000},
    }
    backend = Backend(name="hop", summary="for tests", config=BackendConfig, connect=hop)
    own = None if anyio_backend == "asyncio" else backend
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
        assert await tunnel.sever()
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
            "app": "failed: no answer within 2 s",
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
    assert "stands in the file itself" not in errors


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_mistake_in_the_table_is_found_before_anything_is_opened(prx: Prx) -> None:
    text = prx.config.read_text()
    prx.config.write_text(f'{text}\n[webhooks.bot]\nkind = "telegramm"\n')
    done = prx("tunnel", "start")
    assert done.returncode == 2
    assert "webhooks.bot.kind: 'telegramm' is not known; did you mean 'telegram'?" in done.stderr
