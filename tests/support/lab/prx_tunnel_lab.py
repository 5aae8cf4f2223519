"""A third party's backend whose every step a test decides: `steps` says what each attempt does."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import count

import anyio
from pydantic import Field, SecretStr

from prx_tunnel_core import (
    AnyBackend,
    Backend,
    BackendConfig,
    Check,
    ConnectError,
    Connection,
    SetupError,
    Target,
    hookimpl,
)
from prx_tunnel_core.models import Verdict

# What a program says is logged here, by core.
logger = logging.getLogger("prx_tunnel_core.program")

_attempts: Iterator[int] = count()


class LabConfig(BackendConfig):
    steps: tuple[str, ...] = Field(("up",), strict=False)
    """`up`, `hang`, `fail <reason>`, `setup <reason>`; the last one is what all others do."""
    url: str = "https://lab.example.com"
    gate: str = ""
    """A FIFO: the tunnel drops, for the reason that is written to it."""
    opened: str = ""
    """A FIFO: connecting takes until something is written to it."""
    stuck: bool = False
    """Closing takes for ever."""
    token: SecretStr | None = None
    verdict: Verdict = "ok"


class LabConnection(Connection):
    def __init__(self, config: LabConfig) -> None:
        self.public_url = config.url
        self.details = {"edge location": "lab01"}
        self._config = config

    async def wait_closed(self) -> str:
        return await word_from(self._config.gate)

    async def check(self) -> Iterable[Check]:
        return [Check("edge", self._config.verdict, "as the test said")]


async def word_from(fifo: str) -> str:
    """What is written to the FIFO; without one, nothing ever."""
    if not fifo:
        await anyio.sleep_forever()
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await anyio.wait_readable(descriptor)
        return os.read(descriptor, 4096).decode()
    finally:
        os.close(descriptor)


@asynccontextmanager
async def connect(config: LabConfig, target: Target) -> AsyncIterator[Connection]:
    step, _, reason = config.steps[min(next(_attempts), len(config.steps) - 1)].partition(" ")
    if config.token is not None:
        logger.debug("lab: logged in with %s", config.token.get_secret_value())
    if step == "fail":
        raise ConnectError(reason)
    if step == "setup":
        raise SetupError(reason)
    if step == "hang":
        await anyio.sleep_forever()
    if config.opened:
        await word_from(config.opened)
    try:
        yield LabConnection(config)
    finally:
        if config.stuck:
            logger.info("closing takes for ever")
            with anyio.CancelScope(shield=True):
                await anyio.sleep_forever()


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    yield Backend(name="lab", summary="what a test says", config=LabConfig, connect=connect)
