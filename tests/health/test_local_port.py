"""One question in two ways: does something accept connections on a port of this machine?"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import anyio
import pytest

from prx_tunnel_core._health.local_port import accepts, accepts_now, knock
from support.http_server import free_port
from support.probing import full_backlog


@pytest.fixture(params=["127.0.0.1", "127.0.0.2", "::1"])
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as server:
        server.bind((request.param, 0))
        server.listen()
        yield request.param, server.getsockname()[1]


@pytest.mark.anyio
async def test_one_that_listens_accepts(listening: tuple[str, int]) -> None:
    assert await accepts(*listening)
    assert accepts_now(*listening)
    await knock(*listening)


@pytest.mark.anyio
async def test_one_that_does_not_listen_refuses() -> None:
    port = free_port()
    assert not await accepts("127.0.0.1", port)
    assert not accepts_now("127.0.0.1", port)
    with pytest.raises(ConnectionRefusedError):
        await knock("127.0.0.1", port)


@pytest.mark.anyio
async def test_an_address_without_a_listener_is_not_another_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not await accepts("127.0.0.2", port)
        assert not accepts_now("127.0.0.2", port)


@pytest.mark.anyio
async def test_e07_a_full_backlog_does_not_accept_and_is_given_up(descriptors: None) -> None:
    with full_backlog() as port:
        began = time.monotonic()
        assert not await accepts("127.0.0.1", port, patience=0.2)
        assert not accepts_now("127.0.0.1", port, patience=0.2)
        assert 0.4 <= time.monotonic() - began < 20


@pytest.mark.anyio
async def test_a_knock_can_be_cancelled(descriptors: None) -> None:
    with full_backlog() as port, anyio.move_on_after(0.1) as scope:
        await knock("127.0.0.1", port)
    assert scope.cancelled_caught


def test_no_number_of_a_descriptor_is_too_high(listening: tuple[str, int]) -> None:
    """`select` takes none above 1023; loopback connects at once, so the backlog has to be full."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1200:
        pytest.skip("this machine allows fewer descriptors")
    with ExitStack() as held, full_backlog() as port:
        for _ in range(1100):
            held.enter_context(socket.socket())
        assert not accepts_now("127.0.0.1", port, patience=0.1)
        assert accepts_now(*listening)
