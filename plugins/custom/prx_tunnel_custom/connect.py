"""Run the program, find its URL, and wait until the tunnel is up."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.errors import ConfigError, ConnectError, ProgramExited
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.process import TunnelProcess, open_process
from prx_tunnel_core.programs import time_left
from prx_tunnel_core.urls import leads_here
from prx_tunnel_custom.command import fill, other_port, secret_options, secret_values
from prx_tunnel_custom.config import CustomConfig
from prx_tunnel_custom.connection import External
from prx_tunnel_custom.pattern import read_pattern

if TYPE_CHECKING:
    from pydantic import SecretStr

logger = get_logger("prx_tunnel_custom")

SETTLED = 2.0
"""Seconds after which a program without an announcement counts as up.

A refused program (a wrong token, a name in use) ends within a second or two.
"""

_SSH = frozenset({"ssh", "autossh"})


@asynccontextmanager
async def connect(config: CustomConfig, target: Target) -> AsyncIterator[Connection]:
    if config.public_url is not None and leads_here(config.public_url, target.port):
        raise ConfigError(
            f"tunnel.custom.public_url: {config.public_url} is the local target itself; "
            "write the URL under which others reach it"
        )
    if not config.command:
        yield External(config.public_url or "")
        return
    if (other := other_port(config.command, target.port)) is not None:
        logger.warning(
            "the command contains port %s, but the tunnel forwards to %d; write {port} instead",
            other,
            target.port,
        )
    for option in secret_options(config.command):
        logger.warning(
            "every user of this machine can read the value of %s in the command; "
            "put secrets into [tunnel.custom.env]",
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


async def _public_url(config: CustomConfig, process: TunnelProcess, target: Target) -> str:
    """Wait until the tunnel is up, and return its URL."""
    if config.public_url is not None and config.ready_pattern is None:
        with anyio.move_on_after(min(SETTLED, time_left() / 2)):
            await process.first_match(_never)
        return config.public_url
    search = Search(config, target)
    try:
        with anyio.move_on_after(time_left()):
            return await process.first_match(search.find)
        if why := search.why_not():
            raise ConnectError(why)
        return await process.first_match(search.find)  # the attempt says how long it took
    except ProgramExited as error:
        if why := search.why_not():
            raise ProgramExited(
                f"{error}; {why}", returncode=error.returncode, tail=error.tail
            ) from None
        raise


class Search:
    """Searches each line for the URL, and remembers what it rejected."""

    def __init__(self, config: CustomConfig, target: Target) -> None:
        self._announcement = None if config.url_pattern is None else config.announcement()
        pattern = config.ready_pattern
        self._ready = None if pattern is None else read_pattern(pattern)
        self._is_ready = self._ready is None
        self._url = config.public_url
        self._port = target.port
        self._refused = ""

    def find(self, line: str) -> str | None:
        """The URL, once it is known and the program has reported that it is ready, in any order."""
        if self._url is None:
            self._url = self._announced(line)
        self._is_ready = self._is_ready or (self._ready is not None and self._ready.occurs(line))
        return self._url if self._is_ready else None

    def why_not(self) -> str:
        """Why the URL that the pattern matched was rejected; empty when it matched none."""
        if self._url is not None or not self._refused:
            return ""
        return (
            f"url_pattern matched only {self._refused}, the local target itself, which many "
            "programs print too; change it to match the public URL"
        )

    def _announced(self, line: str) -> str | None:
        if self._announcement is None:
            return None
        for url in self._announcement.urls(line):
            if not leads_here(url, self._port):
                return url
            self._refused = url
        return None


def _never(_: str) -> str | None:
    return None


def _environment(config: CustomConfig) -> Mapping[str, str | SecretStr]:
    """The variables of the table; for ssh also the agent, which holds its keys."""
    agent = os.environ.get("SSH_AUTH_SOCK")
    if agent and os.path.basename(config.command[0]) in _SSH:
        return {"SSH_AUTH_SOCK": agent, **config.env}
    return config.env
