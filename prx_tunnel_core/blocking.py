"""The same for synchronous hosts: a tunnel on an event loop of its own, in a thread of its own.

    with open_tunnel({"backend": "ssh", "local_port": 3000}) as tunnel:
        print(tunnel.info.public_url)

    tunnel = start({"backend": "ssh", "local_port": 3000})      # in a notebook: no `with`
    tunnel.close()                                              # or at the end of the process

An event loop that runs in the calling thread (a notebook's) is not touched.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from prx_tunnel_core._isolation import call_in_thread
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.errors import TunnelError
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Failed, TunnelHealth, TunnelInfo, TunnelStatus
from prx_tunnel_core.tunnel import Tunnel as AsyncTunnel

__all__ = ["Tunnel", "open_tunnel", "start", "tunnel"]

logger = get_logger("prx_tunnel_core")

LAST_WORDS = 5.0  # seconds for callbacks to hear of the end

T = TypeVar("T")

Settings = TunnelConfig | Mapping[str, Any] | None


class Tunnel:
    """A tunnel whose methods block the calling thread; they may be called from any thread.

    Takes what the asynchronous `Tunnel` takes; `async_backend` is `asyncio` or `trio`. Use it as
    `with Tunnel(config) as tunnel:`, or call `open` and `close`; what is still open when the
    process ends is closed then.

    A fork of the process (a worker of gunicorn) has no part in it: there, closing does nothing,
    and everything else but looking raises RuntimeError.
    """

    def __init__(
        self, config: Settings = None, *, async_backend: str = "asyncio", **options: Any
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
        """Where the tunnel is reached; None while it is not connected."""
        return self._tunnel.info

    def open(self) -> None:
        """Start the thread; the tunnel itself is not started yet."""
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
        """Stop the tunnel and its thread; may be called again, and by anybody."""
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
        """As `Tunnel.start`; when it is interrupted (Ctrl-C), nothing goes on connecting."""
        return self._call(self._tunnel.start)

    def start_soon(self) -> None:
        """Start in the background; a failure is logged, and is what `status` says."""

        async def begin() -> None:
            try:
                await self._tunnel.start()
            except TunnelError as error:
                if isinstance(self._tunnel.status, Failed):  # else it was stopped
                    logger.error("tunnel %s: %s", self._tunnel.name, error)  # noqa: TRY400

        self._opened().start_task_soon(begin)

    def stop(self) -> None:
        """As `Tunnel.stop`."""
        self._call(self._tunnel.stop)

    def health_check(self) -> TunnelHealth:
        """As `Tunnel.health_check`."""
        return self._call(self._tunnel.health_check)

    def on_change(self, callback: Callable[[TunnelStatus], object]) -> None:
        """Call back with each new status, in order, in a thread; what it raises is logged.

        A callback that blocks delays only itself, and the end by `LAST_WORDS` seconds at most.
        """
        portal = self._opened()
        watch = portal.call(self._tunnel.watch)

        async def pass_on() -> None:
            async for status in watch:
                try:
                    await call_in_thread(partial(callback, status))
                except Exception:
                    logger.exception("a callback for changes of the tunnel failed")

        self._callbacks.append(portal.start_task_soon(pass_on))

    def _end_callbacks(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for late in wait_for(callbacks, LAST_WORDS).not_done:
            late.cancel()

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        portal = self._opened()
        asked = _Asked(function)
        try:
            return portal.start_task_soon(asked.run).result()
        except Exception:
            raise
        except BaseException:
            # An interrupt is ours alone; the task knows nothing of it, and may have begun before
            # we could learn of it.
            portal.call(asked.give_up)
            raise

    def _opened(self) -> BlockingPortal:
        self._check_process()
        if self._portal is None:
            raise RuntimeError(f"{self!r} is not open")
        return self._portal

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError(f"this tunnel is that of process {self._process}, our parent")


class _Asked(Generic[T]):
    """A call of another thread, which can be taken back at any time."""

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self._function = function
        self._scope: anyio.CancelScope | None = None
        self._given_up = False

    async def run(self) -> T:
        with anyio.CancelScope() as self._scope:
            if self._given_up:
                self._scope.cancel()
            return await self._function()
        raise RuntimeError("nobody waits for this any more")

    def give_up(self) -> None:
        self._given_up = True
        if self._scope is not None:
            self._scope.cancel()


def tunnel(config: Settings = None, **options: Any) -> Tunnel:
    """A tunnel that is not started yet, to be used with `with`; leaving that stops it."""
    return Tunnel(config, **options)


@contextmanager
def open_tunnel(config: Settings = None, **options: Any) -> Iterator[Tunnel]:
    """A tunnel that is started on entering and stopped on leaving."""
    with Tunnel(config, **options) as running:
        running.start()
        yield running


def start(config: Settings = None, *, wait: bool = True, **options: Any) -> Tunnel:
    """A tunnel that is started now and stopped by its `close`, or when the process ends.

    Without `wait` it connects in the background, and a failure is only logged.
    """
    running = Tunnel(config, **options)
    running.open()
    try:
        (running.start if wait else running.start_soon)()
    except BaseException:
        running.close()
        raise
    return running


# Strong: nobody could close one of which only its thread is left.
_open: set[Tunnel] = set()
_registered = False


def _close_at_exit(opened: Tunnel) -> None:
    global _registered  # noqa: PLW0603 - one per process
    _open.add(opened)
    if not _registered:
        # `atexit` would come too late: before it, the interpreter waits for the worker threads of
        # our event loop, which end when that does. concurrent.futures registers here as well.
        threading._register_atexit(_close_all)  # type: ignore[attr-defined]  # noqa: SLF001
        _registered = True


def _close_all() -> None:
    for each in list(_open):
        try:
            each.close()
        except Exception:
            logger.exception("closing %r failed", each)
