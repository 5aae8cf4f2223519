"""A tunnel over the stand-in program, as the cases of the fault catalogue need it."""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from prx_tunnel_core._health import Probes
from prx_tunnel_core.backend import Backend, Connection, Target
from prx_tunnel_core.config import BackendConfig, ReconnectConfig, TunnelConfig, validate
from prx_tunnel_core.errors import SetupError, TunnelError
from prx_tunnel_core.models import Failed, TunnelStatus
from prx_tunnel_core.process import TunnelProcess, open_process
from prx_tunnel_core.tunnel import Tunnel
from prx_tunnel_core.urls import UrlRule
from support.memory import FakeProber, Memory
from support.proc import program
from support.virtual import IsolatedTunnel, no_plugins

URL = "https://agent.example.com"
UP = (f"print:{URL}", "hang")
RULE = UrlRule(hosts=["example.com"], not_hosts=["api.example.com"])
FAST = ReconnectConfig(backoff_base_ms=1, backoff_max_ms=1, max_attempts=2)
FOR_EVER = ReconnectConfig(backoff_base_ms=1, backoff_max_ms=1, max_attempts=0)
WITHIN = 10.0  # seconds: only a broken test waits this long

both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


class ProgramConfig(BackendConfig):
    grace: float = 0.3


class Programs:
    """A backend that runs these commands, one for each attempt, the last for all that follow."""

    def __init__(
        self,
        *commands: Sequence[str],
        env: Mapping[str, str | SecretStr] = MappingProxyType({}),
        cwd: str | None = None,
    ) -> None:
        self.commands = commands or (program(*UP),)
        self.env = env
        self.cwd = cwd
        self.tried = 0
        self.started: list[TunnelProcess] = []

    @asynccontextmanager
    async def connect(self, config: ProgramConfig, target: Target) -> AsyncIterator[Connection]:
        command = self.commands[min(self.tried, len(self.commands) - 1)]
        self.tried += 1
        async with open_process(
            command, env=self.env, cwd=self.cwd, grace=config.grace, program_hint="install it"
        ) as process:
            self.started.append(process)
            yield process.connection(await process.first_match(RULE.find))

    def tunnel(
        self,
        *,
        prober: Probes | None = None,
        grace: float = 0.3,
        every: float | None = None,
        **table: Any,
    ) -> Tunnel:
        """`every`: seconds between health checks, also fewer than a configuration may ask for."""
        table = {"backend": "programs", "reconnect": FAST, "programs": {"grace": grace}, **table}
        config = validate(TunnelConfig, table, path="tunnel")
        if every is not None:
            config = config.model_copy(update={"health_check_interval": every})
        backend = Backend(name="programs", summary="", config=ProgramConfig, connect=self.connect)
        return IsolatedTunnel(
            config, backend=backend, plugins=no_plugins(), prober=prober or FakeProber()
        )

    @property
    def latest(self) -> TunnelProcess:
        return self.started[-1]


@asynccontextmanager
async def starting(tunnel: Tunnel) -> AsyncIterator[AsyncIterator[TunnelStatus]]:
    """A tunnel that is started, whatever comes of it: each of its statuses."""

    async def start() -> None:
        with suppress(TunnelError):
            await tunnel.start()

    async with tunnel, anyio.create_task_group() as tasks:
        statuses = tunnel.watch()
        tasks.start_soon(start)
        yield statuses
        await tunnel.stop()


async def refused(programs: Programs) -> str:
    """What is said of a program that someone has to fix first; it must not be tried again."""
    async with programs.tunnel() as tunnel:
        with pytest.raises(SetupError) as caught:
            await tunnel.start()
        assert tunnel.status == Failed(str(caught.value))
        await anyio.sleep(0.01)
        assert programs.tried == 1
    return str(caught.value)


def script(path: Path, text: str = "#!/bin/sh\necho started\n", mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def copy_of(
    source: str, path: Path, change: Callable[[bytearray], bytearray] = lambda content: content
) -> list[str]:
    """The command of a copy of that program, changed."""
    path.write_bytes(change(bytearray(Path(source).read_bytes())))
    path.chmod(0o755)
    return [str(path)]


def raw(data: bytes) -> str:
    """The step that prints these bytes and nothing else."""
    return "raw:" + data.hex()


def of_plugin(plugin: str, module: str, *, folder: str = "tests") -> Any:
    """A module of a plugin's own tests: its stand-in for the real program."""
    path = str(Path(__file__).parents[2] / "plugins" / plugin / folder)
    if path not in sys.path:
        sys.path.insert(0, path)
    return importlib.import_module(module)


_TUNNEL = {"a": "0" * 32, "t": "6ff42ae2-765d-4adf-8112-31c55c1551ef", "s": "c2VjcmV0"}
TOKEN = base64.b64encode(json.dumps(_TUNNEL).encode()).decode()


class Cloudflared:
    """The stand-in for cloudflared, and tunnels over it; the last of the plans is for all runs."""

    def __init__(self, folder: Path, *plans: Mapping[str, Any]) -> None:
        self.program = of_plugin("cloudflare", "cloudflare_kit.installed").StandIn(folder / "bin")
        self.program.plan(*(plans or ({},)))

    def tunnel(self, *, reconnect: ReconnectConfig = FAST, **table: Any) -> Tunnel:
        # 9999 is the port of the recordings.
        config = {"backend": "cloudflare", "local_port": 9999, "health_check_url": False}
        cloudflare = {"program": str(self.program.program), **table}
        return IsolatedTunnel({**config, "reconnect": reconnect, "cloudflare": cloudflare})


def tunnel_to(
    url: str,
    port: int,
    prober: Probes | None = None,
    *,
    every: float | None = None,
    fields: Mapping[str, Any] = MappingProxyType({}),
    **table: Any,
) -> Tunnel:
    """A tunnel without a program that is reached at that URL, and leads to that local port.

    `fields` replace those of its `Backend`.
    """
    table = {"backend": "memory", "local_port": port, "allow_sensitive_port": True, **table}
    config = validate(TunnelConfig, table, path="tunnel")
    if every is not None:
        config = config.model_copy(update={"health_check_interval": every})
    return IsolatedTunnel(
        config,
        backend=replace(Memory(names=[url] * 9).backend(), **fields),
        plugins=no_plugins(),
        prober=prober,
    )
