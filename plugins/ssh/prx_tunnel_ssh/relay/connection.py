"""The SSH connection of a guest, as asyncssh has it but with bounds."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import asyncssh
from asyncssh.packet import PacketDecodeError, SSHPacket
from typing_extensions import override

from prx_tunnel_ssh.relay.algorithms import accepts_signature

MOST_UNSENT = 32 * 1024 * 1024
"""Bytes. What visitors send is far less: they wait when the socket is full (`Congestion`)."""
_MOST_REQUESTS = 256
_LONGEST_REQUEST = 4096  # bytes; a host name and a port


class GuestConnection(asyncssh.SSHServerConnection):
    """Takes no signature that is not accepted, and keeps little for a guest.

    asyncssh keeps without bound the answers that a guest does not read, all that is to be sent
    during a key exchange that the guest does not finish, and the requests behind one that takes
    its time. `hoards` is called, with the reason, when that becomes too much.
    """

    def __init__(
        self,
        options: asyncssh.SSHServerConnectionOptions,
        guest: asyncssh.SSHServer,
        hoards: Callable[[str], None],
    ) -> None:
        options = copy.copy(options)
        options.protocol_factory = lambda: guest
        super().__init__(asyncio.get_running_loop(), options)
        self._hoards: Callable[[str], None] | None = hoards
        self._deferred = 0
        """Bytes that wait for the end of a key exchange."""

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
