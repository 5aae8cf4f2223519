"""What a host and an observer write, as type checkers see it; see backends.py."""

# ruff: noqa: ARG001, B018, INP001, PGH003 - mistakes are what this is about

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import assert_never, assert_type

from prx_tunnel_core import (
    ConfigModel,
    Connected,
    Connecting,
    Failed,
    Idle,
    Observer,
    Reconnecting,
    Stopped,
    Tunnel,
    TunnelHealth,
    TunnelInfo,
    TunnelStatus,
    TunnelView,
    blocking,
    hookimpl,
    load,
    open_tunnel,
)
from prx_tunnel_core.access import Receive, Scope, Send
from prx_tunnel_core.asgi import lifespan, with_tunnel


def told(status: TunnelStatus) -> str:
    match status:
        case Connected(info):
            return info.public_url
        case Reconnecting(attempt, reason, retry_in):
            return f"{attempt} {reason} {retry_in:.0f}"
        case Connecting(attempt):
            return str(attempt)
        case Failed(message):
            return message
        case Idle() | Stopped():
            return ""
        case _:
            assert_never(status)


async def host() -> None:
    async with open_tunnel(load().tunnel, name="web") as tunnel:
        assert_type(tunnel, Tunnel)
        assert_type(await tunnel.start(), TunnelInfo)
        assert_type(await tunnel.health_check(), TunnelHealth)
        async for status in tunnel.watch():
            told(status)
        async for url in tunnel.urls():
            assert_type(url, str)
    async with open_tunnel(nam="web"):  # type: ignore[call-arg] # pyright: ignore
        pass
    blocking.start({"backend": "ssh"}, wait=False, async_backend="trio", on_status=told).close()
    blocking.tunnel(asinc_backend="trio")  # type: ignore[call-arg] # pyright: ignore
    blocking.Tunnel(on_status=told, plugin=None)  # type: ignore[call-arg] # pyright: ignore
    lifespan(name="web", tables={}, on_status=told, wait=True)
    lifespan(nam="web")  # type: ignore[call-arg] # pyright: ignore
    with_tunnel(app, {"backend": "ssh"}, on_status=print)
    with_tunnel(app, backends=None)  # type: ignore[call-arg] # pyright: ignore
    Tunnel(on_status=lambda: None)  # type: ignore[arg-type, misc] # pyright: ignore
    Tunnel(online=lambda: True)  # type: ignore[call-arg] # pyright: ignore
    tunnel.start().public_url  # type: ignore[attr-defined] # pyright: ignore
    TunnelInfo(public_url="https://a.example", backend="x")  # type: ignore[call-arg] # pyright: ignore


async def app(scope: Scope, receive: Receive, send: Send) -> None: ...


class NotifyConfig(ConfigModel):
    file: str


class OtherConfig(ConfigModel):
    path: str


@asynccontextmanager
async def run(
    config: NotifyConfig, tunnel: TunnelView
) -> AsyncIterator[Callable[[], Mapping[str, str]]]:
    yield lambda: {"file": config.file, "tunnel": tunnel.name}


Observer(name="notify", config=NotifyConfig, run=run)
Observer(name="notify", config=OtherConfig, run=run)  # type: ignore[arg-type] # pyright: ignore


@hookimpl
async def prx_tunnel_status_changed(tunnel: str, new: TunnelStatus) -> None:
    told(new)
