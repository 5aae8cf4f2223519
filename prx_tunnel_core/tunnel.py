"""What a host holds: one tunnel, to start, stop, watch and ask.

A tunnel is one task. What it opens lives in nested scopes of that task, so a late event of an
earlier connection cannot exist. Reasons travel as return values, never as exceptions across tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType, TracebackType
from typing import Any, Self

import anyio
import anyio.abc
import anyio.to_thread

from prx_tunnel_core import _health
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core._supervisor.backoff import Backoff
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core._supervisor.health_monitor import HealthCheck, Probes
from prx_tunnel_core._supervisor.observers import Observation
from prx_tunnel_core._supervisor.run import Lifecycle, Parts, Run
from prx_tunnel_core.backend import Backend, Target
from prx_tunnel_core.config import TunnelConfig, secrets_of, validate
from prx_tunnel_core.errors import ProgramStuck, SetupError, TunnelError, unwrap_group
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import (
    Connected,
    Connecting,
    Failed,
    Idle,
    Reconnecting,
    Stopped,
    TunnelHealth,
    TunnelInfo,
    TunnelStatus,
    describe,
)
from prx_tunnel_core.text import Redactor

logger = get_logger("prx_tunnel_core")
# Of its own, for a host that tells each change itself.
status_logger = get_logger("prx_tunnel_core.status")

_STOPPED = "the tunnel was stopped before it was connected"
_NO_TABLES: Mapping[str, Any] = MappingProxyType({})


class Tunnel:
    """One tunnel that is kept open between `start` and `stop`, any number of times.

    Use it as `async with Tunnel(config) as tunnel:`; leaving the context stops it. On asyncio and
    trio. `config` is a `TunnelConfig`, or the `[tunnel]` table as a mapping.

    `tables` are the other top-level tables of a configuration file, for the observers among the
    installed plugins. `backend` is used instead of an installed one.

    Raises ConfigError for a mapping that is no valid configuration.
    """

    def __init__(
        self,
        config: TunnelConfig | Mapping[str, Any] | None = None,
        *,
        name: str = "default",
        backend: Backend[Any] | None = None,
        plugins: PluginRegistry | None = None,
        tables: Mapping[str, Any] = _NO_TABLES,
        prober: Probes | None = None,
        online: Callable[[], bool] = _health.online,
        ladder: Callable[..., Backoff] = Backoff,
    ) -> None:
        if not isinstance(config, TunnelConfig):
            config = validate(TunnelConfig, config or {}, path="tunnel")
        self.name = name
        self.config = config
        self.target = Target(config.local_host, config.local_port)
        self._backend = backend
        self._parts: Parts | None = None
        self._plugins = plugins if plugins is not None else PluginRegistry()
        self._online = online
        self._new_ladder = ladder
        self._statuses = StatusBroadcast(Idle())
        self._statuses.close()  # until the context is entered
        self._run: Run | None = None
        self._stops = 0
        self._drops: deque[float] = deque(maxlen=100)
        self._redact = Redactor()
        self._health = HealthCheck(self, prober)
        self._observation = Observation(self, self._plugins, tables)
        self._tasks: anyio.abc.TaskGroup | None = None
        self._context: AbstractAsyncContextManager[None] | None = None

    def __repr__(self) -> str:
        return f"<Tunnel {self.name!r} {type(self.status).__name__}>"

    async def __aenter__(self) -> Self:
        if self._context is not None:
            raise RuntimeError(f"{self!r} is entered already")
        self._context = self._open()
        await self._context.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._context is not None
        context, self._context = self._context, None
        return await context.__aexit__(kind, error, traceback)

    @property
    def status(self) -> TunnelStatus:
        return self._statuses.now

    @property
    def info(self) -> TunnelInfo | None:
        """Where the tunnel is reached; None while it is not connected."""
        return self._statuses.info

    @property
    def last_health(self) -> TunnelHealth | None:
        """The result of the latest health check, periodic or asked for."""
        return self._health.latest

    @property
    def recent_drops(self) -> int:
        """How often it lost its connection in the last hour, up to a hundred."""
        begin = anyio.current_time() - 3600
        return sum(at > begin for at in self._drops)

    @property
    def observer_states(self) -> Mapping[str, Mapping[str, str]]:
        """What each observer beside this tunnel says of itself."""
        return self._observation.states()

    def watch(self) -> AsyncIterator[TunnelStatus]:
        """Each new status from now on, until the tunnel's context is left.

        A slow watcher misses the oldest ones, never the latest, and never slows the tunnel.
        """
        return self._statuses.watch()

    def urls(self) -> AsyncIterator[str]:
        """The public URL, now if there is one, and each that differs from the one before."""
        return self._statuses.urls()

    async def start(self) -> TunnelInfo:
        """Return once the tunnel is connected; joins a start that is under way.

        Raises SetupError when someone has to fix something, ConnectError when it gave up, and
        TunnelError when it was stopped meanwhile. Cancelling the last `start` that waits for a
        first connection stops the tunnel.
        """
        if self._tasks is None:
            raise RuntimeError("a tunnel lives in its context: async with Tunnel(...) as tunnel")
        stops = self._stops
        while self._run is not None and self._run.is_ending:
            await self._run.finished.wait()  # the old connection goes before a new one comes
            if self._stops != stops:
                raise TunnelError(_STOPPED)
        if self._run is None:
            self._run = Run()
            self._set(Connecting())
            self._tasks.start_soon(self._supervise, self._run)
        run = self._run
        run.waiting += 1
        try:
            return await self._connected(run)
        finally:
            run.waiting -= 1
            if not run.waiting and not run.was_connected and not run.finished.is_set():
                run.scope.cancel()
                with anyio.CancelScope(shield=True):
                    await run.finished.wait()

    async def stop(self) -> None:
        """Return when nothing is left running; concurrent calls join, repeated ones do nothing."""
        self._stops += 1
        if self._run is not None:
            self._run.scope.cancel()
            await self._run.finished.wait()
        elif isinstance(self.status, Failed):
            self._set(Stopped())

    async def health_check(self) -> TunnelHealth:
        """Look at the tunnel now; problems are in the answer, never raised."""
        return await self._health.now()

    async def abort(self) -> bool:
        """Break the connection as a failing network would, to see the tunnel come back.

        False when nothing is connected, or the backend cannot.
        """
        up = self._health.connection
        return up is not None and await up.connection.abort()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        with unwrap_group():
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._statuses.open()
                try:
                    await self._observation.begin(tasks)
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._close()
                    tasks.cancel_scope.cancel()

    async def _close(self) -> None:
        await self.stop()
        self._tasks = None
        self._statuses.close()
        await self._observation.end()
        await self._health.aclose()

    async def _connected(self, run: Run) -> TunnelInfo:
        while not run.finished.is_set():
            if (info := self.info) is not None:
                return info
            await self._statuses.change()
        raise run.error or TunnelError(_STOPPED)

    async def _supervise(self, run: Run) -> None:
        """The task of one start: from Connecting to Stopped or Failed."""
        try:
            with run.scope:
                parts = await self._prepare()
                run.life = Lifecycle(parts, self._new_ladder(self.config.reconnect))
                run.error = await run.life.run()
        except SetupError as error:
            run.error = error
        except Exception as error:
            logger.exception("tunnel %s: a defect of prx-tunnel", self.name)
            run.error = TunnelError(f"a defect of prx-tunnel: {type(error).__name__}")
        finally:
            # Whoever asked for a stop gets one, whatever happened in the same moment; unless
            # something cannot be stopped.
            stopped = run.scope.cancel_called and not isinstance(run.error, ProgramStuck)
            if run.error is None or stopped:
                run.error = None
                last: TunnelStatus = Stopped()
            else:
                last = Failed(str(run.error))
            self._run = None
            run.finished.set()
            self._set(last)

    async def _prepare(self) -> Parts:
        """Find the backend and read its settings, once; raises SetupError."""
        if self._parts is not None:
            return self._parts
        backend = self._backend
        if backend is None:
            # Importing a plugin takes a while, and the host's loop has other things to do.
            backend = await anyio.to_thread.run_sync(self._plugins.backend, self.config.backend)
        name = backend.name
        settings = validate(backend.config, self.config.table(name), path=f"tunnel.{name}")
        self._redact.add(*secrets_of(settings))
        self._parts = Parts(
            config=self.config,
            backend=backend,
            settings=settings,
            target=self.target,
            redact=self._redact,
            health=self._health,
            online=self._online,
            show=self._set,
        )
        return self._parts

    def _set(self, new: TunnelStatus) -> None:
        old = self.status
        if not self._statuses.put(new):
            return
        status_logger.info("tunnel %s: %s", self.name, self._redact(describe(new)))
        if isinstance(old, Connected) and isinstance(new, Reconnecting):
            self._drops.append(anyio.current_time())
        self._observation.status_changed(old, new)


@asynccontextmanager
async def open_tunnel(
    config: TunnelConfig | Mapping[str, Any] | None = None, **options: Any
) -> AsyncIterator[Tunnel]:
    """A tunnel that is started on entering and stopped on leaving; see `Tunnel` and its `start`."""
    async with Tunnel(config, **options) as tunnel:
        await tunnel.start()
        yield tunnel
