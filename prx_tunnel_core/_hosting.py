"""The tunnel of a host: its own, or the one of that name that another process already runs.

A host neither waits for its tunnel nor fails with it. A detached tunnel outlives the host, so that
its URL stays the same when the host restarts after each change of its code.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, Unpack

import anyio

from prx_tunnel_core import _health
from prx_tunnel_core._control.async_client import NoAnswer, NotRunning, ask
from prx_tunnel_core._control.name_lock import AlreadyRunning, NameLock
from prx_tunnel_core._control.server import serve
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.errors import TunnelError, unwrap_group
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import (
    Check,
    Connected,
    Connecting,
    Failed,
    Idle,
    Reconnecting,
    Stopped,
    TunnelHealth,
    TunnelInfo,
    TunnelStatus,
    health_from_json,
    state_of,
    status_from_json,
)
from prx_tunnel_core.tunnel import Tunnel, TunnelOptions

logger = get_logger("prx_tunnel_core")

T = TypeVar("T")

POLL = 0.5  # seconds between two questions to a tunnel of another process

FOREIGN_ANSWER = (KeyError, TypeError, ValueError)
"""What reading the answer of another version of prx may raise."""


async def ask_other(op: str, name: str, read: Callable[[dict[str, Any]], T]) -> T:
    """The answer of another process' tunnel, as `read` reads it; raises NotRunning or NoAnswer."""
    try:
        return read(await ask(op, name=name))
    except FOREIGN_ANSWER:
        raise NoAnswer("the tunnel is run by another version of prx") from None


class HostTunnel:
    """A read-only view of a host's tunnel."""

    def __init__(
        self, name: str, on_status: Callable[[TunnelStatus], object] | None = None
    ) -> None:
        self.name = name
        self.attached = False
        """Whether another process runs the tunnel."""
        self.settled = anyio.Event()
        """Set once it is decided which process runs the tunnel, and its name can be asked."""
        self._statuses = StatusBroadcast(on_status)
        self._own: Tunnel | None = None

    @classmethod
    def never(cls, name: str, reason: str = "") -> HostTunnel:
        """For a host without a tunnel; `reason` says why, if it should have one."""
        view = cls(name)
        if reason:
            view._statuses.put(Failed(reason))
        view._end()
        return view

    def __repr__(self) -> str:
        attached = " attached" if self.attached else ""
        return f"<HostTunnel {self.name!r}{attached} {type(self.status).__name__}>"

    @property
    def status(self) -> TunnelStatus:
        return self._statuses.now

    @property
    def info(self) -> TunnelInfo | None:
        """The public URL and its details; None while the tunnel is not connected."""
        return self._statuses.info

    def watch(self) -> AsyncIterator[TunnelStatus]:
        """The current status, then each new one, until the host's tunnel is closed."""
        return self._statuses.watch()

    def urls(self) -> AsyncIterator[str]:
        """The current public URL, if there is one, then each that differs from the previous."""
        return self._statuses.urls()

    async def health_check(self) -> TunnelHealth:
        """Check the tunnel now; problems are in the result, never raised."""
        if self._own is not None:
            return await self._own.health_check()
        if not self.attached:
            return _health.not_connected(state_of(self.status))
        try:
            return await ask_other("health", self.name, health_from_json)
        except TunnelError as error:
            return TunnelHealth("unhealthy", (Check("process", "fail", str(error)),))

    async def first_outcome(self) -> None:
        """Return once it is connected; raises TunnelError when it failed or was stopped.

        Returns at once for a host without a tunnel, and when another process has the name but has
        not begun to connect: it may be waiting for this host to listen.
        """
        await self.settled.wait()
        while isinstance(self.status, Connecting | Reconnecting | Idle):
            if isinstance(self.status, Idle) and (self.attached or self._statuses.closed):
                return
            await self._statuses.change()
        if not isinstance(self.status, Connected):
            reason = self.status.message if isinstance(self.status, Failed) else "it was stopped"
            raise TunnelError(f"tunnel {self.name!r} is not connected: {reason}")

    def _end(self) -> None:
        self._statuses.close()
        self.settled.set()


@asynccontextmanager
async def host_tunnel(
    config: TunnelConfig | Mapping[str, Any],
    *,
    ready: Callable[[], Awaitable[object]] | None = None,
    **options: Unpack[TunnelOptions],
) -> AsyncIterator[HostTunnel]:
    """Keep a tunnel in the background of the body, which its failures do not reach.

    When another process runs a tunnel of that name, the host attaches to it for good, and never
    stops it. Otherwise the host's own tunnel is opened once `ready` has returned, answers to
    `prx tunnel status` and `stop` from the beginning, and is closed with the context.
    """
    kept = _Kept(config, ready, options)
    with unwrap_group():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kept.run)
            try:
                yield kept
            finally:
                kept.scope.cancel()
                with anyio.CancelScope(shield=True):
                    await kept.ended.wait()


class _Kept(HostTunnel):
    """A `HostTunnel` with the task that opens the tunnel, or follows the other process."""

    def __init__(
        self,
        config: TunnelConfig | Mapping[str, Any],
        ready: Callable[[], Awaitable[object]] | None,
        options: TunnelOptions,
    ) -> None:
        super().__init__(options.get("name", "default"), options.get("on_status"))
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self._config = config
        self._ready = ready
        self._options = options
        self._compared = False

    async def run(self) -> None:
        try:
            with self.scope:
                while not await self._attach_or_open():
                    await anyio.sleep(0.01)  # the other one has just ended
        except TunnelError as error:
            self._fail(str(error))
        except Exception as error:
            logger.exception("tunnel %s: a defect of prx-tunnel", self.name)
            self._fail(f"a defect of prx-tunnel: {type(error).__name__}")
        finally:
            self._end()
            self.ended.set()

    def _fail(self, reason: str) -> None:
        logger.error("tunnel %s: %s", self.name, reason)
        self._statuses.put(Failed(reason))

    async def _attach_or_open(self) -> bool:
        try:
            lock = await NameLock.acquire(self.name)
        except AlreadyRunning:
            return await self._attach()
        try:
            await self._open(lock)
        finally:
            lock.release()
        return True

    async def _open(self, lock: NameLock) -> None:
        options: TunnelOptions = {**self._options, "on_status": self._statuses.put}
        tunnel = _OwnTunnel(self._config, options)
        async with tunnel, serve(tunnel, lock=lock):
            self._own = tunnel
            self.attached = False
            self.settled.set()
            try:
                await self._start(tunnel)
                # `prx tunnel status` says why it failed, as long as the host lives.
                await anyio.sleep_forever()
            finally:
                self._own = None

    async def _start(self, tunnel: _OwnTunnel) -> None:
        async with anyio.create_task_group() as tasks:

            async def give_way() -> None:
                await tunnel.stop_asked.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(give_way)
            if self._ready is not None:
                await self._ready()
            try:
                await tunnel.start()
            except TunnelError as error:
                logger.error("tunnel %s: %s", self.name, error)  # noqa: TRY400 - for a person
            tasks.cancel_scope.cancel()
        if isinstance(tunnel.status, Idle):
            # It was stopped before its first start, which is no change for the tunnel itself.
            self._statuses.put(Stopped())

    async def _attach(self) -> bool:
        """Follow the other process' tunnel for good; False if there is none after all."""
        seen = False
        while True:
            try:
                status = await ask_other("status", self.name, status_from_json)
                seen = True
            except NotRunning:
                if not seen:
                    return False
                # It was stopped on purpose; opening another one would expose the port again.
                status = Stopped()
            except NoAnswer as error:
                status = Failed(str(error))
            self.attached = True
            self._statuses.put(status)
            if not self.settled.is_set():
                logger.info("tunnel %s is run by another process; attached to it", self.name)
                self.settled.set()
            self._compare_ports()
            await anyio.sleep(POLL)

    def _compare_ports(self) -> None:
        ours = self._config
        port = ours.local_port if isinstance(ours, TunnelConfig) else ours.get("local_port")
        if self.info is None or self._compared or port in (None, self.info.local_port):
            return
        self._compared = True
        logger.warning(
            "the running tunnel %s leads to port %d, but this host is configured for port %s",
            self.name, self.info.local_port, port,
        )  # fmt: skip


class _OwnTunnel(Tunnel):
    """Remembers a stop that came before the first start."""

    def __init__(self, config: TunnelConfig | Mapping[str, Any], options: TunnelOptions) -> None:
        super().__init__(config, **options)
        self.stop_asked = anyio.Event()

    async def stop(self) -> None:
        self.stop_asked.set()
        await super().stop()
