"""Passes each new URL of a tunnel to every registration, independently of the others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio

from prx_tunnel_core.backend import TunnelView
from prx_tunnel_core.errors import unwrap_group
from prx_tunnel_core.secrets import secrets_of
from prx_tunnel_core.text import Redactor
from prx_tunnel_webhooks.api import open_api
from prx_tunnel_webhooks.config import WebhooksConfig
from prx_tunnel_webhooks.registration import Registration

FAREWELL = 4.0  # seconds for removing what is to be removed; core waits for 5


@asynccontextmanager
async def run(
    config: WebhooksConfig, tunnel: TunnelView
) -> AsyncIterator[Callable[[], Mapping[str, str]]]:
    redact = Redactor(secrets_of(config))
    async with open_api(redact) as api:
        registrations = [Registration(name, hook, api) for name, hook in config.hooks.items()]
        try:
            with unwrap_group():
                async with anyio.create_task_group() as tasks:
                    for registration in registrations:
                        tasks.start_soon(registration.keep)
                    tasks.start_soon(_follow, tunnel, registrations)
                    yield lambda: {each.name: each.state for each in registrations}
                    tasks.cancel_scope.cancel()
        finally:
            await _remove(registrations)


async def _follow(tunnel: TunnelView, registrations: Sequence[Registration]) -> None:
    async for url in tunnel.urls():
        for registration in registrations:
            registration.want(url)


async def _remove(registrations: Sequence[Registration]) -> None:
    # Shielded: the tunnel's end is a cancellation.
    with anyio.move_on_after(FAREWELL, shield=True):
        async with anyio.create_task_group() as tasks:
            for registration in registrations:
                tasks.start_soon(registration.remove)
