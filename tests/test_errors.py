"""What comes out of a task group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from prx_tunnel_core.backend import Backend, Connection, Target
from prx_tunnel_core.config import BackendConfig
from prx_tunnel_core.errors import ConnectError, leaves, unwrap, unwrap_group
from prx_tunnel_core.tunnel import Tunnel
from support.virtual import no_plugins

ONE, OTHER = ConnectError("one"), ValueError("other")


def test_a_group_of_one_is_what_is_in_it() -> None:
    assert unwrap(ONE) is ONE
    assert unwrap(ExceptionGroup("", [ExceptionGroup("", [ONE])])) is ONE


def test_a_group_of_two_stays_one() -> None:
    group = ExceptionGroup("", [ONE, OTHER])
    assert unwrap(group) is group
    assert unwrap(ExceptionGroup("", [group])) is group
    assert leaves(ExceptionGroup("", [ExceptionGroup("", [ONE]), OTHER])) == [ONE, OTHER]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(3)])
def test_what_ends_the_process_comes_out_alone(end: BaseException) -> None:
    with pytest.raises(type(end)) as caught, unwrap_group():
        raise BaseExceptionGroup("", [ONE, BaseExceptionGroup("", [OTHER, end])])
    assert caught.value is end


@asynccontextmanager
async def interrupted(config: BackendConfig, target: Target) -> AsyncIterator[Connection]:
    """An interrupt in a task of the backend, which then does not clear up well either."""

    async def interrupt() -> None:
        raise KeyboardInterrupt

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(interrupt)
        try:
            await anyio.sleep_forever()
        finally:
            raise ConnectError("clearing up failed")
    yield  # type: ignore[misc]


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_an_interrupt_in_a_backend_reaches_the_host_as_one(loop: str) -> None:
    backend: Backend[Any] = Backend(
        name="odd", summary="", config=BackendConfig, connect=interrupted
    )

    async def host() -> None:
        async with Tunnel({"backend": "odd"}, backend=backend, plugins=no_plugins()) as tunnel:
            await tunnel.start()

    with pytest.raises(KeyboardInterrupt):
        anyio.run(host, backend=loop)
