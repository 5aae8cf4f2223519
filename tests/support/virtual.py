"""Tests in virtual time: hours pass in milliseconds, and the order of events is always the same."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, ParamSpec, Unpack

import pytest
import trio
import trio.testing

from prx_tunnel_core import PluginRegistry
from prx_tunnel_core._health import Probes
from prx_tunnel_core._supervisor.backoff import Backoff
from prx_tunnel_core._supervisor.run import Seams
from prx_tunnel_core.config import ConfigLike
from prx_tunnel_core.models import Idle, TunnelStatus
from prx_tunnel_core.tunnel import Tunnel, TunnelOptions
from support.memory import FakeProber, Memory

P = ParamSpec("P")


def virtual(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test on trio under a clock that jumps to the next deadline."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            with trio.fail_after(10_000_000):
                await test(*args, **kwargs)

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    return run


def no_plugins() -> PluginRegistry:
    return PluginRegistry(entry_points=list)


class IsolatedTunnel(Tunnel):
    """A tunnel for which a test answers instead of the network and the machine.

    `prober` answers the health checks (None: they are real), `online` says whether the machine has
    a network, `jitter` is the random part of each delay, from 0 to 1 (None: it is random).
    """

    def __init__(
        self,
        config: ConfigLike = None,
        *,
        prober: Probes | None = None,
        online: Callable[[], bool] = lambda: True,
        jitter: float | None = None,
        **options: Unpack[TunnelOptions],
    ) -> None:
        seams = Seams(online=online)
        if prober is not None:
            seams = replace(seams, prober=lambda _: prober)
        if jitter is not None:
            seams = replace(seams, backoff=lambda config: Backoff(config, uniform=lambda: jitter))
        self._seams = seams
        super().__init__(config, **options)


def isolate_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the tunnels that a host makes: nothing looks at the network or the machine."""
    monkeypatch.setattr(Tunnel, "_seams", Seams(prober=lambda _: FakeProber(), online=lambda: True))


class Recorded(IsolatedTunnel):
    """A tunnel that keeps every status with the time of its change."""

    def __init__(self, config: ConfigLike = None, **options: Any) -> None:
        self.history: list[tuple[float, TunnelStatus]] = []
        self.on_change: Callable[[TunnelStatus, TunnelStatus], None] = lambda old, new: None
        super().__init__(config, on_status=self._record, **options)

    def _record(self, new: TunnelStatus) -> None:
        old = self.history[-1][1] if self.history else Idle()
        self.history.append((trio.current_time(), new))
        self.on_change(old, new)

    @property
    def states(self) -> list[str]:
        return [type(status).__name__ for _, status in self.history]


def in_memory(
    provider: Memory,
    *,
    prober: Probes | None = None,
    reconnect: Mapping[str, object] | None = None,
    jitter: float = 1.0,
    online: Callable[[], bool] = lambda: True,
    plugins: PluginRegistry | None = None,
    **config: object,
) -> Recorded:
    """A tunnel over that provider; `jitter` is the random part of each delay, from 0 to 1."""
    return Recorded(
        {"backend": "memory", "reconnect": reconnect or {}, **config},
        backend=provider.backend(),
        plugins=plugins or no_plugins(),
        prober=prober or FakeProber(),
        online=online,
        jitter=jitter,
    )
