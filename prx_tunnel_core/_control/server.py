"""The server of the control socket: bounds the size, the time and the number of requests."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.abc

from prx_tunnel_core._control import protocol
from prx_tunnel_core._control.client import is_trusted, peer_credentials
from prx_tunnel_core._control.name_lock import NameLock
from prx_tunnel_core._control.operations import OPERATIONS, ServedTunnel
from prx_tunnel_core.errors import TunnelError, unwrap_group
from prx_tunnel_core.logs import get_logger

if TYPE_CHECKING:
    from prx_tunnel_core.tunnel import Tunnel

logger = get_logger("prx_tunnel_core")

DEADLINE = 5.0  # seconds for a request to arrive, and for a client to read the reply
MOST_CONNECTIONS = 32
WORKING = 1.0  # seconds between two `wait` lines while an operation runs
SELF_CHECK = 60.0  # seconds between two checks that clients still find the socket
ACCEPT_RETRY = 0.1  # seconds to the next accept after one failed for want of resources
LAST_ANSWERS = 2.0  # seconds that sending the answer to a stop may delay the end


@asynccontextmanager
async def serve(
    tunnel: Tunnel,
    *,
    lock: NameLock | None = None,
    release_on_stop: bool = False,
    self_check: float = SELF_CHECK,
) -> AsyncIterator[None]:
    """Answer `prx tunnel status`, `health` and `stop` for this tunnel, under its name.

    Pass a `lock` that was acquired before the tunnel was created; it is released at the end. Use
    `release_on_stop` for a process that ends with its tunnel: a `stop` through the socket then
    releases the name before it is answered, so that the tunnel can be started again at once.
    Otherwise the socket stays after a stop. Every `self_check` seconds the server recreates the
    lock and the socket if they were removed.

    Raises AlreadyRunning when another process runs a tunnel of that name, and SetupError when the
    runtime directory cannot be trusted.
    """
    if lock is None:
        lock = await NameLock.acquire(tunnel.name)
    try:
        listener = lock.listen()
        with unwrap_group():
            async with anyio.create_task_group() as tasks:
                server = _Server(tunnel, lock, tasks, release_on_stop=release_on_stop)
                tasks.start_soon(server.run, listener, self_check)
                try:
                    yield
                finally:
                    await server.finish()
                    tasks.cancel_scope.cancel()
    finally:
        lock.release()


class _Server:
    def __init__(
        self,
        tunnel: Tunnel,
        lock: NameLock,
        tasks: anyio.abc.TaskGroup,
        *,
        release_on_stop: bool,
    ) -> None:
        self._served = ServedTunnel(tunnel)
        self._lock = lock
        self._tasks = tasks
        self._release_on_stop = release_on_stop
        self._connections = 0
        self._silent: dict[anyio.CancelScope, None] = {}  # connections, the oldest first
        self._exhausted = False  # whether the last accept failed for want of resources
        self._stops = 0
        self._stops_answered = anyio.Event()
        self._accepting = anyio.CancelScope()
        self._accepted = anyio.Event()

    async def run(self, listener: socket.socket | None, self_check: float) -> None:
        self._tasks.start_soon(self._served.note_changes)
        with self._accepting:
            while True:
                with anyio.move_on_after(self_check):
                    await self._accept_all(listener)
                listener = self._renewed(listener)
        self._accepted.set()

    def _renewed(self, listener: socket.socket | None) -> socket.socket | None:
        """The same listener, or another one when clients can no longer find it."""
        try:
            if self._lock.is_intact():
                return listener
            listener = self._lock.renew()
        except (TunnelError, OSError) as error:
            problem = "the control socket or lock was removed, and cannot be recreated"
            logger.error("%s: %s", problem, error)  # noqa: TRY400 - no traceback for the user
            return None
        logger.warning("the control socket or lock was removed; recreated it")
        return listener

    async def _accept_all(self, listener: socket.socket | None) -> None:
        if listener is None:
            await anyio.sleep_forever()
            return
        while True:
            await anyio.wait_readable(listener)
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, ConnectionError):
                continue
            except OSError as error:  # the process has no free file descriptor, or no memory
                if not self._exhausted:
                    logger.warning("cannot accept a control connection: %s; retrying", error)
                self._exhausted = True
                await anyio.sleep(ACCEPT_RETRY)
            else:
                self._exhausted = False
                self._tasks.start_soon(self._converse, connection)

    async def _converse(self, connection: socket.socket) -> None:
        self._connections += 1
        try:
            with connection:
                connection.setblocking(False)
                if self._has_room() and is_trusted(peer_credentials(connection)[1]):
                    await self._answer(connection)
        except OSError:
            pass  # the client has closed the connection
        except Exception:
            logger.exception("a control connection failed")
        finally:
            self._connections -= 1

    def _has_room(self) -> bool:
        """Whether to serve one more connection; closes the one that has been silent longest."""
        if self._connections <= MOST_CONNECTIONS:
            return True
        if not self._silent:
            return False
        oldest = next(iter(self._silent))
        del self._silent[oldest]
        oldest.cancel()
        return True

    async def _answer(self, connection: socket.socket) -> None:
        try:
            with anyio.move_on_after(DEADLINE) as scope:
                self._silent[scope] = None
                try:
                    line = await protocol.read_line(connection)
                finally:
                    self._silent.pop(scope, None)
            if scope.cancelled_caught:
                return
            op, form = protocol.parse(line, OPERATIONS)
        except ValueError as error:
            await self._send(connection, protocol.header(2) + f"{error}\n".encode())
            return
        if OPERATIONS[op].stops:
            await self._answer_stop(connection, op, form)
        else:
            code, text = await self._work(connection, op, form)
            await self._send(connection, protocol.header(code) + text.encode())

    async def _answer_stop(self, connection: socket.socket, op: str, form: str) -> None:
        self._stops += 1
        try:
            code, text = await self._work(connection, op, form)
            if self._release_on_stop:
                # The socket must not be closed while `run` waits for it.
                self._accepting.cancel()
                await self._accepted.wait()
                self._lock.release()
            header = protocol.header(code, ending=self._release_on_stop)
            await self._send(connection, header + text.encode())
        finally:
            self._stops -= 1
            self._stops_answered.set()

    async def _work(self, connection: socket.socket, op: str, form: str) -> tuple[int, str]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._signs_of_life, connection)
            code, text, wire = await OPERATIONS[op].handler(self._served)
            tasks.cancel_scope.cancel()
        return code, f"{json.dumps(wire)}\n" if form == "json" else text

    async def _signs_of_life(self, connection: socket.socket) -> None:
        # The operation continues when its client closes the connection.
        with contextlib.suppress(OSError):
            while True:
                await anyio.sleep(WORKING)
                await protocol.send(connection, protocol.WAIT)

    async def _send(self, connection: socket.socket, reply: bytes) -> None:
        with anyio.move_on_after(DEADLINE):
            await protocol.send(connection, reply)

    async def finish(self) -> None:
        """Wait until the clients that asked for a stop have got their answer."""
        with anyio.move_on_after(LAST_ANSWERS, shield=True):
            while self._stops:
                self._stops_answered = anyio.Event()
                await self._stops_answered.wait()
