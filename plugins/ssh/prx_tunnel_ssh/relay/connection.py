"""The SSH connection of a guest: that of asyncssh, with bounds."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh
from asyncssh.logging import SSHLogger
from asyncssh.packet import PacketDecodeError, SSHPacket
from typing_extensions import override

from prx_tunnel_ssh.relay.algorithms import accepts_signature

MOST_UNSENT = 32 * 1024 * 1024
"""Bytes. What visitors send is far less: they wait when the socket is full (`Congestion`)."""
_MOST_REQUESTS = 256
_LONGEST_REQUEST = 4096  # bytes; a host name and a port


class GuestConnection(asyncssh.SSHServerConnection):
    """Checks the algorithm of each signature, and bounds what is buffered for the guest.

    asyncssh buffers without a bound the answers that a guest does not read, all that is to be sent
    during a key exchange that the guest does not finish, and the requests that wait for an earlier
    one. `hoards` is called, with the reason, when that becomes too much.

    No public interface of asyncssh shows these buffers; the tests of hoarding fail when a new
    version renames or replaces one of them.
    """

    def __init__(
        self,
        options: asyncssh.SSHServerConnectionOptions,
        guest: asyncssh.SSHServer,
        hoards: Callable[[str], None],
        tasks: set[asyncio.Task[Any]],
    ) -> None:
        """`tasks` gets what asyncssh starts for the connection, which may outlast it."""
        options = copy.copy(options)
        options.protocol_factory = lambda: guest
        super().__init__(asyncio.get_running_loop(), options)
        self._hoards: Callable[[str], None] | None = hoards
        self._started = tasks
        self._deferred = 0
        """Bytes that wait for the end of a key exchange."""

    @override
    def create_task(
        self, coro: Awaitable[None], task_logger: SSHLogger | None = None
    ) -> asyncio.Task[None]:
        task = super().create_task(coro, task_logger)
        self._started.add(task)
        task.add_done_callback(self._started.discard)
        return task

    @override
    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        super().data_received(data, datatype)
        waiting = self._global_request_queue
        if len(waiting) > _MOST_REQUESTS or any(
            len(packet.get_full_payload()) > _LONGEST_REQUEST for _, packet, _ in waiting
        ):
            self._end("too many or too long requests at a time")

    @override
    def send_packet(self, pkttype: int, *args: bytes, **more: Any) -> None:
        before = len(self._deferred_packets)
        super().send_packet(pkttype, *args, **more)
        after = len(self._deferred_packets)
        if after > before:
            self._deferred += sum(map(len, args))
        elif not after:
            self._deferred = 0
        unsent = self._deferred
        if self._transport is not None:
            unsent += self._transport.get_write_buffer_size()
        if unsent > MOST_UNSENT:
            self._end("too much waits for it to be read")

    def _end(self, reason: str) -> None:
        hoards, self._hoards = self._hoards, None
        if hoards is not None:
            hoards(reason)

    @override
    async def validate_public_key(
        self, username: str, key_data: bytes, msg: bytes, signature: bytes
    ) -> bool:
        """Asyncssh announces which algorithms a signature may have, and then takes any."""
        try:
            if signature and not accepts_signature(SSHPacket(signature).get_string()):
                return False
        except PacketDecodeError:
            return False
        return await super().validate_public_key(username, key_data, msg, signature)
