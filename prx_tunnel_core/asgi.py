"""A tunnel for the life of an ASGI application: Starlette, FastAPI, Litestar, Django or plain.

    app = FastAPI(lifespan=lifespan({"backend": "ssh", "local_port": 8000}))
    app = with_tunnel(app, {"backend": "ssh", "local_port": 8000})        # any other

    request.state.tunnel.info       # in a handler: the public URL and its details, or None

The tunnel starts in the background: the application's own start neither waits for it nor fails with
it. When a tunnel of that name already runs (`prx tunnel start --detach`), it is used instead of a
second one, and left running on shutdown, so that its URL survives `uvicorn --reload`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, NoReturn, TypeAlias, Unpack

import anyio
import anyio.to_thread

from prx_tunnel_core import _configfile
from prx_tunnel_core._control import client
from prx_tunnel_core._control.async_client import NotRunning
from prx_tunnel_core._hosting import HostTunnel, ask_other, host_tunnel
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core.access import App, Message, Receive, Scope, Send
from prx_tunnel_core.config import ConfigLike, TunnelConfig
from prx_tunnel_core.errors import ConfigError, TunnelError, unwrap_group
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import status_from_json
from prx_tunnel_core.tunnel import TunnelOptions

__all__ = ["HostTunnel", "lifespan", "with_tunnel"]

logger = get_logger("prx_tunnel_core")

NEIGHBOURS_POLL = 0.5  # seconds between two looks for other tunnels

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Any]]


def lifespan(
    config: ConfigLike = None,
    *,
    wait: bool = False,
    own: Lifespan | None = None,
    **options: Unpack[TunnelOptions],
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """For `Starlette(lifespan=…)` and `FastAPI(lifespan=…)`: the tunnel is `request.state.tunnel`.

    Without `config`, the configuration file decides; it needs a `[tunnel]` table. `own` is the
    host's own lifespan: entered first, left last, its state kept. With `wait`, the application
    starts only once the tunnel is connected, and not at all when that fails. The tunnel is also
    `app.state.tunnel`, where Litestar has it (`Litestar(lifespan=[…])`). The other arguments are
    those of `Tunnel`.
    """

    @asynccontextmanager
    async def live(app: Any) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            state = await stack.enter_async_context(own(app)) if own is not None else None
            tunnel = await stack.enter_async_context(_beside(config, options))
            if wait:
                await tunnel.first_outcome()
            if hasattr(app, "state"):
                app.state.tunnel = tunnel
            yield {**(state or {}), "tunnel": tunnel}

    return live


def with_tunnel(
    app: App,
    config: ConfigLike = None,
    *,
    wait: bool = False,
    **options: Unpack[TunnelOptions],
) -> App:
    """Wrap any ASGI application so that a tunnel is open while it runs.

    Each request finds the tunnel in `scope["state"]["tunnel"]`, which frameworks provide as
    `request.state.tunnel`. The arguments are those of `lifespan`. The application need not support
    the lifespan protocol (Django does not).
    """
    return _Host(app, wait, lambda: _beside(config, options))


@asynccontextmanager
async def _beside(config: ConfigLike, options: TunnelOptions) -> AsyncIterator[HostTunnel]:
    name = options.get("name", "default")
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
        config, options = found.tunnel, {"tables": found.tables, **options}
    if not _auto_starts(config):
        logger.info("no tunnel: tunnel.auto_start is false")
        yield HostTunnel.never(name)
        return
    async with host_tunnel(config, **options) as tunnel, _neighbours_known(name):
        yield tunnel


def _auto_starts(config: TunnelConfig | Mapping[str, Any]) -> bool:
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
        else:  # the server runs without the lifespan protocol
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
        """Run the application's lifespan, or answer in its place when it supports none."""
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
    """A context in its own task, so that the application may end it from inside its own scopes."""

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


@asynccontextmanager
async def _neighbours_known(own: str) -> AsyncIterator[None]:
    """Keep `access` informed of the other tunnels of this user while the body runs.

    They may lead to the port of this host as well.
    """
    with unwrap_group():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Neighbours(own).watch)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()


class Neighbours:
    """The running tunnels of this user, except the one named `own`."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._known: dict[str, StatusBroadcast] = {}

    async def watch(self) -> NoReturn:
        try:
            while True:
                await self.look()
                await anyio.sleep(NEIGHBOURS_POLL)
        finally:
            self._keep(())

    async def look(self) -> None:
        try:
            names = await anyio.to_thread.run_sync(client.running, abandon_on_cancel=True)
        except TunnelError as error:
            logger.debug("cannot list the tunnels of other processes: %s", error)
            return
        names = [name for name in names if name != self._own]
        self._keep(names)
        for name in names:
            await self._ask(name)

    async def _ask(self, name: str) -> None:
        try:
            status = await ask_other("status", name, status_from_json)
        except NotRunning:
            self._keep([each for each in self._known if each != name])
        except TunnelError as error:
            # Suspended, or of another version: its last known status still holds.
            logger.debug("tunnel %s of another process does not answer: %s", name, error)
        else:
            self._known.setdefault(name, StatusBroadcast()).put(status)

    def _keep(self, names: Collection[str]) -> None:
        for name in self._known.keys() - set(names):
            self._known.pop(name).close()
