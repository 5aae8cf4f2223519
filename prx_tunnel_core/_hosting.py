"""The tunnel of a host: its own, or the one of that name that another process already runs.

A host shall neither wait for its tunnel nor fail by it. And a detached tunnel outlives the host, so
that its URL stays the same while the host is started anew at each change of its code.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from prx_tunnel_core._control.async_client import NoAnswer, NotRunning, ask
from prx_tunnel_core._control.name_lock import AlreadyRunning, NameLock
from prx_tunnel_core._control.server import serve
from prx_tunnel_core._supervisor.broadcast import StatusBroadcast
from prx_tunnel_core._supervisor.telling import TellingTunnel
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
from prx_tunnel_core.tunnel import Tunnel

logger = get_logger("prx_tunnel_core")

POLL = 0.5  # seconds between two questions to a tunnel of another process

_FOREIGN_ANSWER = (KeyError, TypeError, ValueError)
"""What reading the answer of another version of prx may raise."""


class HostTunnel:
    """What a host sees of its tunnel; it cannot be changed through it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.attached = False
        """Whether another process runs the tunnel."""
        self.settled = anyio.Event()
        """Set once it is decided whose tunnel it is, and who asks for its name finds one."""
        self._statuses = StatusBroadcast(Idle())
        self._own: Tunnel | None = None

    @classmethod
    def never(cls, name: str, reason: str = "") -> HostTunnel:
        """Of a host that has no tunnel; `reason` when it was to have one."""
        view = cls(name)
        if reason:
            view._set(Failed(reason))
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
        """Where the tunnel is reached; None while it is not connected."""
        return self._statuses.info

    def watch(self) -> AsyncIterator[TunnelStatus]:
        """Each new status from now on, until the host's tunnel is closed."""
        return self._statuses.watch()

    def urls(self) -> AsyncIterator[str]:
        """The public URL, now if there is one, and each that differs from the one before."""
        return self._statuses.urls()

    async def health_check(self) -> TunnelHealth:
        """Look at the tunnel now; problems are in the answer, never raised."""
        if self._own is not None:
            return await self._own.health_check()
        if not self.attached:
            return _not_known(f"the tunnel is {state_of(self.status)}")
        try:
            return health_from_json(await ask("health", name=self.name))
        except (TunnelError, *_FOREIGN_ANSWER) as error:
            return _not_known(str(error))

    async def first_outcome(self) -> None:
        """Return once it is connected; raises TunnelError when it failed or was stopped.

        Returns at once when there is to be no tunnel, and when another process has the name and has
        not begun to connect: it may be waiting for this very host to listen.
        """
        await self.settled.wait()
        while isinstance(self.status, Connecting | Reconnecting | Idle):
            if isinstance(self.status, Idle) and (self.attached or self._statuses.closed):
                return
            await self._statuses.change()
        if not isinstance(self.status, Connected):
            reason = self.status.message if isinstance(self.status, Failed) else "it was stopped"
            raise TunnelError(f"tunnel {self.name!r} is not connected: {reason}")

    def _set(self, new: TunnelStatus) -> bool:
        return self._statuses.put(new)

    def _end(self) -> None:
        self._statuses.close()
        self.settled.set()


@asynccontextmanager
async def host_tunnel(
    config: TunnelConfig | Mapping[str, Any],
    *,
    name: str = "default",
    ready: Callable[[], Awaitable[object]] | None = None,
    show: Callable[[TunnelStatus], object] | None = None,
    **options: Any,
) -> AsyncIterator[HostTunnel]:
    """Keep a tunnel beside the body, in the background; nothing that it does is raised there.

    When another process runs a tunnel of that name, it is that one, and stays it: it is looked at,
    and never stopped from here. Otherwise the tunnel is opened once `ready` has returned, can be
    asked and stopped by `prx tunnel` all the while, and is closed with the context.

    `show` is told each new status at once. `options` are those of `Tunnel`.
    """
    kept = _Kept(name, config, ready, show, options)
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
    """The same with the task in the background."""

    def __init__(
        self,
        name: str,
        config: TunnelConfig | Mapping[str, Any],
        ready: Callable[[], Awaitable[object]] | None,
        show: Callable[[TunnelStatus], object] | None,
        options: Mapping[str, Any],
    ) -> None:
        super().__init__(name)
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self._config = config
        self._ready = ready
        self._show = show
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

    def _set(self, new: TunnelStatus) -> bool:
        changed = super()._set(new)
        if changed and self._show is not None:
            self._show(new)
        return changed

    def _fail(self, reason: str) -> None:
        logger.error("tunnel %s: %s", self.name, reason)
        self._set(Failed(reason))

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
        tunnel = _OwnTunnel(self._config, name=self.name, show=self._set, **self._options)
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
            self._set(Stopped())  # before it was ever started, which for the tunnel is no change

    async def _attach(self) -> bool:
        """Follow the other process' tunnel for good; False when there is none after all."""
        seen = False
        while True:
            try:
                status = status_from_json(await ask("status", name=self.name))
                seen = True
            except NotRunning:
                if not seen:
                    return False
                # Somebody stopped it: to open another now would expose what they wanted closed.
                status = Stopped()
            except NoAnswer as error:
                status = Failed(str(error))
            except _FOREIGN_ANSWER:
                status = Failed("the tunnel is run by another version of prx")
            self.attached = True
            self._set(status)
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
            "the tunnel %s that runs already leads to port %d, and this host is to be at port %s",
            self.name, self.info.local_port, port,
        )  # fmt: skip


class _OwnTunnel(TellingTunnel):
    """Remembers a stop that came before the first start."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stop_asked = anyio.Event()

    async def stop(self) -> None:
        self.stop_asked.set()
        await super().stop()


def _not_known(reason: str) -> TunnelHealth:
    return TunnelHealth("unhealthy", (Check("process", "fail", reason),))
