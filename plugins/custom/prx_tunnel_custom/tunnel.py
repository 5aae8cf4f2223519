"""Run the program, learn its URL, and say when the tunnel is up."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.process import TunnelProcess, open_process
from prx_tunnel_custom.command import fill, other_port, secret_options, secret_values
from prx_tunnel_custom.config import CustomConfig
from prx_tunnel_custom.pattern import compile_pattern

if TYPE_CHECKING:
    from pydantic import SecretStr

logger = logging.getLogger("prx_tunnel_custom")

SETTLED = 2.0
"""Seconds after which a program that announces nothing is taken for up.

One that is refused (a wrong token, a name that is taken) says so and ends within a second or two.
"""

_SSH = frozenset({"ssh", "autossh"})


@asynccontextmanager
async def connect(config: CustomConfig, target: Target) -> AsyncIterator[Connection]:
    if not config.command:
        yield External(config.public_url or "")
        return
    if (other := other_port(config.command, target.port)) is not None:
        logger.warning(
            "the command names port %s, but the tunnel is to lead to %d; write {port} in it",
            other,
            target.port,
        )
    for option in secret_options(config.command):
        logger.warning(
            "every user of this machine can read what follows %s in the command; "
            "[tunnel.custom.env] is for secrets",
            option,
        )
    command = fill(config.command, target)
    async with open_process(
        command,
        env=_environment(config),
        grace=config.stop_grace,
        secrets=secret_values(config.command),
    ) as process:
        yield process.connection(await _public_url(config, process, target))


class External(Connection):
    """A tunnel that somebody else keeps open: whether it works, only a probe can tell."""

    def __init__(self, public_url: str) -> None:
        self.public_url = public_url

    async def wait_closed(self) -> str:
        await anyio.Event().wait()
        return ""


async def _public_url(config: CustomConfig, process: TunnelProcess, target: Target) -> str:
    """Wait until the tunnel is up, and return its URL."""
    if config.public_url is not None and config.ready_pattern is None:
        left = anyio.current_effective_deadline() - anyio.current_time()
        with anyio.move_on_after(min(SETTLED, left / 2)):
            await process.first_match(_never)
        return config.public_url
    return await process.first_match(_finder(config, target))


def _never(_: str) -> str | None:
    return None


def _finder(config: CustomConfig, target: Target) -> Callable[[str], str | None]:
    """The URL as soon as it is known and the program has said that it is ready, in any order."""
    announcement = None if config.url_pattern is None else config.announcement()
    ready = None if config.ready_pattern is None else compile_pattern(config.ready_pattern)
    url = config.public_url
    is_ready = ready is None

    def find(line: str) -> str | None:
        nonlocal url, is_ready
        if url is None and announcement is not None:
            url = announcement.find(line, target)
        is_ready = is_ready or (ready is not None and ready.occurs(line))
        return url if is_ready else None

    return find


def _environment(config: CustomConfig) -> Mapping[str, str | SecretStr]:
    """The variables of the table; for ssh also the agent, which holds its keys."""
    agent = os.environ.get("SSH_AUTH_SOCK")
    if agent and os.path.basename(config.command[0]) in _SSH:
        return {"SSH_AUTH_SOCK": agent, **config.env}
    return config.env
