"""Tunnels for synchronous hosts: each runs on its own event loop in a background thread.

    with open_tunnel({"backend": "ssh", "local_port": 3000}) as tunnel:
        print(tunnel.info.public_url)

    tunnel = start({"backend": "ssh", "local_port": 3000})      # in a notebook: no `with`
    tunnel.close()                                              # or at the end of the process

An event loop of the calling thread (a notebook's) is not touched.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Generic, Self, TypeVar, Unpack

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from prx_tunnel_core._isolation import call_in_thread
from prx_tunnel_core.config import ConfigLike
from prx_tunnel_core.errors import TunnelError
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Failed, TunnelHealth, TunnelInfo, TunnelStatus
from prx_tunnel_core.tunnel import Tunnel as AsyncTunnel
from prx_tunnel_core.tunnel import TunnelOptions

__all__ = ["BlockingOptions", "Tunnel", "open_tunnel", "start", "tunnel"]

logger = get_logger("prx_tunnel_core")

LAST_WORDS = 5.0  # seconds for callbacks to handle the last status

T = TypeVar("T")


class BlockingOptions(TunnelOptions, total=False):
    """The keyword arguments of the blocking `Tunnel`."""

    async_backend: str


class Tunnel:
    """A tunnel whose methods block the calling thread; they may be called from any thread.

    The arguments are those of the asynchronous `Tunnel`; `async_backend` is `asyncio` or `trio`.
    Use it as `with Tunnel(config) as tunnel:`, or call `open` and `close`. A tunnel that is still
    open when the process ends is closed then.

    In a fork of the process (a gunicorn worker), `close` does nothing, and all other methods raise
    RuntimeError; only the properties work.
    """

    def __init__(
        self,
        config: ConfigLike = None,
        *,
        async_backend: str = "asyncio",
        **options: Unpack[TunnelOptions],
    ) -> None:
        self._tunnel = AsyncTunnel(config, **options)
        self._async_backend = async_backend
        self._process = os.getpid()
        self._portal: BlockingPortal | None = None
        self._stack = ExitStack()
        self._turn = threading.RLock()
        self._callbacks: list[Future[None]] = []

    def __repr__(self) -> str:
        return f"<blocking {self._tunnel!r}>"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def status(self) -> TunnelStatus:
        return self._tunnel.status

    @property
    def info(self) -> TunnelInfo | None:
        """The public URL and its details; None while the tunnel is not connected."""
        return self._tunnel.info

    def open(self) -> None:
        """Start the thread, but not yet the tunnel."""
        self._check_process()
        with self._turn:
            if self._portal is not None:
                raise RuntimeError(f"{self!r} is open already")
            with ExitStack() as stack:
                portal = start_blocking_portal(self._async_backend, name="prx-tunnel")
                self._portal = stack.enter_context(portal)
                stack.callback(self._end_callbacks)
                stack.enter_context(self._portal.wrap_async_context_manager(self._tunnel))
                self._stack = stack.pop_all()
        _close_at_exit(self)

    def close(self) -> None:
        """Stop the tunnel and its thread; may be called repeatedly and from any thread."""
        if os.getpid() != self._process:
            return
        with self._turn:
            stack, self._stack = self._stack, ExitStack()
            try:
                stack.close()
            finally:
                self._portal = None
                _open.discard(self)

    def start(self) -> TunnelInfo:
        """Like the asynchronous `start`; an interrupt (Ctrl-C) also ends the connecting."""
        return self._call(self._tunnel.start)

    def start_soon(self) -> None:
        """Start in the background; a failure is logged, and `status` becomes `Failed`."""

        async def begin() -> None:
            try:
                await self._tunnel.start()
            except TunnelError as error:
                if isinstance(self._tunnel.status, Failed):  # else it was stopped
                    logger.error("tunnel %s: %s", self._tunnel.name, error)  # noqa: TRY400

        self._opened().start_task_soon(begin)

    def stop(self) -> None:
        """Like the asynchronous `stop`."""
        self._call(self._tunnel.stop)

    def health_check(self) -> TunnelHealth:
        """Like the asynchronous `health_check`."""
        return self._call(self._tunnel.health_check)

    def on_change(self, callback: Callable[[TunnelStatus], object]) -> None:
        """Call `callback` in a thread with each new status, in order; its exceptions are logged.

        Unlike `on_status`, it may block: that delays its own calls, and `close` by 5 seconds at
        most.
        """
        portal = self._opened()
        changes = portal.call(self._changes)

        async def pass_on() -> None:
            async for status in changes:
                try:
                    await call_in_thread(partial(callback, status))
                except Exception:
                    logger.exception("a callback of on_change raised an exception")

        self._callbacks.append(portal.start_task_soon(pass_on))

    async def _changes(self) -> AsyncIterator[TunnelStatus]:
        """Each status after the current one."""
        statuses = self._tunnel.watch()
        await anext(statuses)
        return statuses

    def _end_callbacks(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for late in wait_for(callbacks, LAST_WORDS).not_done:
            late.cancel()

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        portal = self._opened()
        call = _Call(function)
        try:
            return portal.start_task_soon(call.run).result()
        except Exception:
            raise
        except BaseException:
            # An interrupt reaches only this thread; the task, which may have begun, is cancelled.
            portal.call(call.cancel)
            raise

    def _opened(self) -> BlockingPortal:
        self._check_process()
        if self._portal is None:
            raise RuntimeError(f"{self!r} is not open")
        return self._portal

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError(
                f"this tunnel belongs to process {self._process}, our parent; "
                "open a tunnel after the fork instead"
            )


class _Call(Generic[T]):
    """A call from another thread, which can be cancelled at any time, even before it runs."""

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self._function = function
        self._scope: anyio.CancelScope | None = None
        self._cancelled = False

    async def run(self) -> T:
        with anyio.CancelScope() as self._scope:
            if self._cancelled:
                self._scope.cancel()
            return await self._function()
        raise RuntimeError("the call was cancelled by its caller")

    def cancel(self) -> None:
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()


def tunnel(config: ConfigLike = None, **options: Unpack[BlockingOptions]) -> Tunnel:
    """A tunnel that is not started yet, for use in a `with` statement, which stops it on exit."""
    return Tunnel(config, **options)


@contextmanager
def open_tunnel(config: ConfigLike = None, **options: Unpack[BlockingOptions]) -> Iterator[Tunnel]:
    """A tunnel that is started on entry and stopped on exit."""
    with Tunnel(config, **options) as running:
        running.start()
        yield running


def start(
    config: ConfigLike = None, *, wait: bool = True, **options: Unpack[BlockingOptions]
) -> Tunnel:
    """A tunnel that is started now and stopped by its `close`, or when the process ends.

    With `wait=False` it connects in the background, and a failure is only logged.
    """
    running = Tunnel(config, **options)
    running.open()
    try:
        (running.start if wait else running.start_soon)()
    except BaseException:
        running.close()
        raise
    return running


# Strong references: a tunnel that the host forgot must still be closed when the process ends.
_open: set[Tunnel] = set()
_registered = False


def _close_at_exit(opened: Tunnel) -> None:
    global _registered  # noqa: PLW0603 - one per process
    _open.add(opened)
    if not _registered:
        # `atexit` is too late: before it, the interpreter waits for the worker threads of our event
        # loop, which end only when the loop does. concurrent.futures registers here as well.
        threading._register_atexit(_close_all)  # type: ignore[attr-defined]  # noqa: SLF001
        _registered = True


def _close_all() -> None:
    for each in list(_open):
        try:
            each.close()
        except Exception:
            logger.exception("closing %r failed", each)
