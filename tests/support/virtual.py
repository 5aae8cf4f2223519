"""Tests in virtual time: hours pass in milliseconds, and the order of events is always the same."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec

import trio
import trio.testing

from prx_tunnel_core import PluginRegistry
from prx_tunnel_core._supervisor.backoff import Backoff
from prx_tunnel_core.config import ReconnectConfig
from prx_tunnel_core.models import TunnelStatus
from prx_tunnel_core.tunnel import Tunnel
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


class Recorded(Tunnel):
    """A tunnel that keeps every status with the time of its change."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.history: list[tuple[float, TunnelStatus]] = []
        self.on_status: Callable[[TunnelStatus, TunnelStatus], None] = lambda old, new: None
        super().__init__(*args, **kwargs)

    def _set(self, new: TunnelStatus) -> None:
        old = self.status
        super()._set(new)
        if new != old:
            self.history.append((trio.current_time(), new))
            self.on_status(old, new)

    @property
    def states(self) -> list[str]:
        return [type(status).__name__ for _, status in self.history]


def in_memory(
    provider: Memory,
    *,
    prober: FakeProber | None = None,
    reconnect: Mapping[str, object] | None = None,
    jitter: float = 1.0,
    online: Callable[[], bool] = lambda: True,
    plugins: PluginRegistry | None = None,
    **config: object,
) -> Recorded:
    """A tunnel over that provider; `jitter` is the random part of each delay, from 0 to 1."""

    def ladder(config: ReconnectConfig) -> Backoff:
        return Backoff(config, uniform=lambda: jitter)

    return Recorded(
        {"backend": "memory", "reconnect": reconnect or {}, **config},
        backend=provider.backend(),
        plugins=plugins or no_plugins(),
        prober=prober or FakeProber(),
        online=online,
        ladder=ladder,
    )
