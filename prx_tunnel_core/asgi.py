"""A tunnel for the life of an ASGI application: Starlette, FastAPI, Litestar, Django or plain.

    app = FastAPI(lifespan=lifespan({"backend": "ssh", "local_port": 8000}))
    app = with_tunnel(app, {"backend": "ssh", "local_port": 8000})        # any other

    request.state.tunnel.info       # in a handler: where the tunnel is reached, or None

The tunnel starts in the background: the application's own start neither waits for it nor fails by
it. When a tunnel of that name runs already (`prx tunnel start --detach`), it is used instead of a
second one, and left alone on shutdown, so that its URL survives `uvicorn --reload`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

import anyio

from prx_tunnel_core import _configfile
from prx_tunnel_core._hosting import HostTunnel, host_tunnel
from prx_tunnel_core._neighbours import neighbours_known
from prx_tunnel_core.admission import App, Message, Receive, Scope, Send
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.errors import ConfigError, TunnelError, unwrap_group
from prx_tunnel_core.logs import get_logger

__all__ = ["HostTunnel", "Settings", "lifespan", "with_tunnel"]

logger = get_logger("prx_tunnel_core")

Settings: TypeAlias = TunnelConfig | Mapping[str, Any] | None
"""The `[tunnel]` table; None: the configuration file, which has to ask for a tunnel."""

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]


def lifespan(
    config: Settings = None,
    *,
    wait: bool = False,
    name: str = "default",
    own: Lifespan | None = None,
    **options: Any,
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """For `Starlette(lifespan=…)` and `FastAPI(lifespan=…)`: the tunnel is `request.state.tunnel`.

    `own` is the host's own lifespan: entered first, left last, its state kept. With `wait`, the
    application starts only once the tunnel is connected, and not at all when that fails.
    The tunnel is `app.state.tunnel` too, which is where Litestar has it (`Litestar(lifespan=[…])`).
    `options` are those of `Tunnel`.
    """

    @asynccontextmanager
    async def live(app: Any) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            state = await stack.enter_async_context(own(app)) if own is not None else None
            tunnel = await stack.enter_async_context(_beside(config, name, options))
            if wait:
                await tunnel.first_outcome()
            if hasattr(app, "state"):
                app.state.tunnel = tunnel
            yield {**(state or {}), "tunnel": tunnel}

    return live


def with_tunnel(
    app: App,
    config: Settings = None,
    *,
    wait: bool = False,
    name: str = "default",
    **options: Any,
) -> App:
    """The application with a tunnel for its life, whatever it is made with.

    Each request finds the tunnel in `scope["state"]["tunnel"]`, which frameworks show as
    `request.state.tunnel`. The arguments are those of `lifespan`. An application that knows no
    lifespan (Django) gets along without.
    """
    return _Host(app, wait, lambda: _beside(config, name, options))


@asynccontextmanager
async def _beside(
    config: Settings, name: str, options: Mapping[str, Any]
) -> AsyncIterator[HostTunnel]:
    tables: Mapping[str, Any] = {}
    if config is None:
        try:
            found = _configfile.load()
        except ConfigError as error:
            logger.error("no tunnel: %s", error)  # noqa: TRY400 - for a person
            yield HostTunnel.never(name, str(error))
            return
        for warning in found.warnings:
            logger.warning("%s", warning)
        if not found.exposes:
            logger.info("no tunnel: the configuration has no [tunnel] table")
            yield HostTunnel.never(name)
            return
        config, tables = found.tunnel, found.tables
    if not _starts_by_itself(config):
        logger.info("no tunnel: tunnel.auto_start is false")
        yield HostTunnel.never(name)
        return
    async with (
        host_tunnel(config, name=name, **{"tables": tables, **options}) as tunnel,
        neighbours_known(name),
    ):
        yield tunnel


def _starts_by_itself(config: TunnelConfig | Mapping[str, Any]) -> bool:
    if isinstance(config, TunnelConfig):
        return config.auto_start
    return config.get("auto_start") is not False


class _Host:
    """Wraps an application: `lifespan` for the tunnel, `state` for the requests."""

    def __init__(
        self,
        app: App,
        wait: bool,
        beside: Callable[[], AbstractAsyncContextManager[HostTunnel]],
    ) -> None:
        self._app = app
        self._wait = wait
        self._beside = beside
        self._tunnel: HostTunnel | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif self._tunnel is not None:
            state = {**(scope.get("state") or {}), "tunnel": self._tunnel}
            await self._app({**scope, "state": state}, receive, send)
        else:  # a server that was told to do without lifespan
            await self._app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        tunnel = _InATask(self._beside)
        with unwrap_group():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tunnel.run)
                try:
                    self._tunnel = await tunnel.opened()
                    if self._wait:
                        await self._tunnel.first_outcome()
                except TunnelError as error:
                    await receive()
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                else:
                    await self._pass_on(scope, receive, send, tunnel)
                finally:
                    tasks.cancel_scope.cancel()

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, tunnel: _InATask) -> None:
        """Let the application live its own lifespan, or live one for it when it knows none."""
        received = sent = 0

        async def hear() -> Message:
            nonlocal received
            received += 1
            return await receive()

        async def say(message: Message) -> None:
            nonlocal sent
            sent += 1
            if message["type"].startswith("lifespan.shutdown"):
                await tunnel.close()  # the server ends as soon as it hears this
            await send(message)

        try:
            await self._app(scope, hear, say)
        except Exception:
            if sent:
                raise
        if sent:
            return
        if not received:
            await hear()
        await say({"type": "lifespan.startup.complete"})
        await hear()
        await say({"type": "lifespan.shutdown.complete"})


class _InATask:
    """A context in a task of its own: the application may end it from within scopes of its own."""

    def __init__(self, beside: Callable[[], AbstractAsyncContextManager[HostTunnel]]) -> None:
        self._beside = beside
        self._tunnel: HostTunnel | None = None
        self._opened = anyio.Event()
        self._unwanted = anyio.Event()
        self._closed = anyio.Event()

    async def run(self) -> None:
        try:
            async with self._beside() as self._tunnel:
                self._opened.set()
                await self._unwanted.wait()
        finally:
            self._closed.set()

    async def opened(self) -> HostTunnel:
        await self._opened.wait()
        assert self._tunnel is not None
        return self._tunnel

    async def close(self) -> None:
        self._unwanted.set()
        await self._closed.wait()
