"""`Tunnel`: the object that a host starts, stops, watches and asks.

A started tunnel is one task, `Run.supervise` in _supervisor/run.py. Everything that it opens lives
in nested scopes of that task, so a late event of an earlier connection cannot exist. Reasons travel
as return values, never as exceptions across tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypedDict, Unpack

import anyio
import anyio.abc
import anyio.to_thread

from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core._supervisor.health_monitor import HealthMonitor
from prx_tunnel_core._supervisor.observers import Observation
from prx_tunnel_core._supervisor.run import Run, Seams
from prx_tunnel_core.backend import Backend, Target
from prx_tunnel_core.config import BackendConfig, ConfigLike, TunnelConfig, validate
from prx_tunnel_core.errors import TunnelError, unwrap_group
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import (
    Connected,
    Connecting,
    Failed,
    Reconnecting,
    Stopped,
    TunnelHealth,
    TunnelInfo,
    TunnelStatus,
    describe,
)
from prx_tunnel_core.secrets import secrets_of
from prx_tunnel_core.text import Redactor

# A logger for changes of status alone: the command line switches it off and shows them itself.
status_logger = get_logger("prx_tunnel_core.status")

_STOPPED = "the tunnel was stopped before it was connected"
_NO_TABLES: Mapping[str, Any] = MappingProxyType({})


class TunnelOptions(TypedDict, total=False):
    """The keyword arguments of `Tunnel`, for functions that pass them on."""

    name: str
    backend: Backend[Any] | None
    plugins: PluginRegistry | None
    tables: Mapping[str, Any]
    on_status: Callable[[TunnelStatus], object] | None


class Tunnel:
    """A tunnel that is kept open between `start` and `stop`, any number of times.

    Use it as `async with Tunnel(config) as tunnel:`; leaving the context stops it. It runs on
    asyncio and trio. `config` is a `TunnelConfig`, or the `[tunnel]` table as a mapping.

    `name` is the name for `prx tunnel status` and logs. `backend` is used instead of an installed
    one. `tables` are the other top-level tables of a configuration file, which configure the
    installed observers.

    `on_status` is called synchronously at each change, with the new status; `status` is already
    the same. It runs inside the tunnel's own task, so it must be quick. It must not raise: an
    exception is logged, and the tunnel goes on. Where a delay does not matter, use `watch`.

    Raises ConfigError for a mapping that is not a valid configuration.
    """

    _seams = Seams()

    def __init__(
        self,
        config: ConfigLike = None,
        *,
        name: str = "default",
        backend: Backend[Any] | None = None,
        plugins: PluginRegistry | None = None,
        tables: Mapping[str, Any] = _NO_TABLES,
        on_status: Callable[[TunnelStatus], object] | None = None,
    ) -> None:
        if not isinstance(config, TunnelConfig):
            config = validate(TunnelConfig, config or {}, path="tunnel")
        self.name = name
        self.config = config
        self.target = Target(config.local_host, config.local_port)
        self._backend = backend
        self._settings: BackendConfig | None = None
        self._plugins = plugins if plugins is not None else PluginRegistry()
        self._statuses = StatusBroadcast(on_status)
        self._statuses.listen(self._note_change)
        self._statuses.close()  # until the context is entered
        self._observers = Observation(name, self._statuses, self._plugins, tables)
        self._health = HealthMonitor(
            config,
            statuses=self._statuses,
            observers=self._observers,
            new_prober=self._seams.prober,
        )
        self._run: Run | None = None
        self._stops = 0
        self._drops: deque[float] = deque(maxlen=100)
        self._redact = Redactor()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._context: AbstractAsyncContextManager[None] | None = None

    def __repr__(self) -> str:
        return f"<Tunnel {self.name!r} {type(self.status).__name__}>"

    async def __aenter__(self) -> Self:
        if self._context is not None:
            raise RuntimeError(f"{self!r} has already been entered")
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
        """The public URL and its details; None while the tunnel is not connected."""
        return self._statuses.info

    @property
    def last_health(self) -> TunnelHealth | None:
        """The result of the latest health check, periodic or requested."""
        return self._health.latest

    @property
    def recent_drops(self) -> int:
        """How often it lost its connection in the last hour, up to 100."""
        begin = anyio.current_time() - 3600
        return sum(at > begin for at in self._drops)

    @property
    def observer_states(self) -> Mapping[str, Mapping[str, str]]:
        """The state that each observer of this tunnel reports."""
        return self._observers.states()

    def watch(self) -> AsyncIterator[TunnelStatus]:
        """The current status, then each new one, until the tunnel's context is left.

        A watcher that falls behind loses the oldest ones, never the latest; it never slows the
        tunnel.
        """
        return self._statuses.watch()

    def urls(self) -> AsyncIterator[str]:
        """The current public URL, if there is one, then each that differs from the previous.

        Like `watch`, it ends when the tunnel's context is left.
        """
        return self._statuses.urls()

    async def start(self) -> TunnelInfo:
        """Return once the tunnel is connected; concurrent calls join the same start.

        Raises SetupError when something has to be fixed first, ConnectError when it gave up, and
        TunnelError when it was stopped meanwhile. Cancelling the last `start` that waits for a
        first connection stops the tunnel.
        """
        if self._tasks is None:
            raise RuntimeError("enter the tunnel first: async with Tunnel(...) as tunnel")
        stops = self._stops
        while self._run is not None and self._run.is_ending:
            await self._run.finished.wait()  # the old connection goes before a new one comes
            if self._stops != stops:
                raise TunnelError(_STOPPED)
        if self._run is None:
            self._run = self._new_run()
            self._statuses.put(Connecting())
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
        """Return once nothing is left running; concurrent calls join, repeated calls do nothing."""
        self._stops += 1
        if self._run is not None:
            self._run.scope.cancel()
            await self._run.finished.wait()
        elif isinstance(self.status, Failed):
            self._statuses.put(Stopped())

    async def health_check(self) -> TunnelHealth:
        """Check the tunnel now; problems are in the result, never raised."""
        return await self._health.now()

    async def abort(self) -> bool:
        """Break the connection as a failing network would, to test reconnection.

        Returns False when the tunnel is not connected, or its backend does not support it.
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
                    await self._observers.begin(tasks)
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._close()
                    tasks.cancel_scope.cancel()

    async def _close(self) -> None:
        await self.stop()
        self._tasks = None
        self._statuses.close()
        await self._observers.end()
        await self._health.aclose()

    async def _connected(self, run: Run) -> TunnelInfo:
        while not run.finished.is_set():
            if (info := self.info) is not None:
                return info
            await self._statuses.change()
        raise run.error or TunnelError(_STOPPED)

    def _new_run(self) -> Run:
        return Run(
            self.name,
            self.config,
            self._load_backend,
            statuses=self._statuses,
            health=self._health,
            redact=self._redact,
            seams=self._seams,
        )

    async def _supervise(self, run: Run) -> None:
        try:
            await run.supervise()
        finally:
            self._run = None

    async def _load_backend(self) -> tuple[Backend[Any], BackendConfig]:
        """The backend and its validated configuration, found once; raises SetupError."""
        if self._backend is None:
            # In a thread: importing a plugin takes a while.
            find = self._plugins.backend
            self._backend = await anyio.to_thread.run_sync(find, self.config.backend)
        if self._settings is None:
            name, model = self._backend.name, self._backend.config
            self._settings = validate(model, self.config.table(name), path=f"tunnel.{name}")
            self._redact.add(*secrets_of(self._settings))
        return self._backend, self._settings

    def _note_change(self, old: TunnelStatus, new: TunnelStatus) -> None:
        status_logger.info("tunnel %s: %s", self.name, self._redact(describe(new)))
        if isinstance(old, Connected) and isinstance(new, Reconnecting):
            self._drops.append(anyio.current_time())


@asynccontextmanager
async def open_tunnel(
    config: ConfigLike = None, **options: Unpack[TunnelOptions]
) -> AsyncIterator[Tunnel]:
    """A tunnel that is started on entry and stopped on exit; see `Tunnel` and its `start`."""
    async with Tunnel(config, **options) as tunnel:
        await tunnel.start()
        yield tunnel
