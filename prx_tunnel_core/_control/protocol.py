"""The server's side of the protocol: read and check a request, write a reply."""

from __future__ import annotations

import json
import socket
from collections.abc import Collection

import anyio

VERSION = 1
LARGEST_REQUEST = 64 * 1024  # bytes
FORMS = ("text", "json")
WAIT = b"prx-tunnel/1 wait\n"


async def read_line(connection: socket.socket) -> bytes:
    """The request without its line end; ValueError when it is too long or incomplete."""
    received = bytearray()
    while b"\n" not in received:
        await anyio.wait_readable(connection)
        try:
            chunk = connection.recv(LARGEST_REQUEST)
        except BlockingIOError:
            continue
        received += chunk
        if not chunk or len(received) > LARGEST_REQUEST:
            raise ValueError("the request is incomplete or too long")
    return bytes(received.partition(b"\n")[0])


def parse(line: bytes, operations: Collection[str]) -> tuple[str, str]:
    """The operation and the form of the answer; ValueError explains an invalid request."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("the request is not JSON") from None
    if not isinstance(request, dict):
        raise ValueError("the request is not an object")  # noqa: TRY004 - the caller catches ValueError only
    version = request.get("v")
    if type(version) is not int or version != VERSION:  # true and 1.0 are equal to 1
        raise ValueError(
            f"the tunnel runs another version of prx, with version {VERSION} of this protocol; "
            "restart the tunnel"
        )
    op, form = request.get("op"), request.get("as", "text")
    if not isinstance(op, str) or op not in operations:
        raise ValueError(f"the operation must be one of: {', '.join(operations)}")
    if not isinstance(form, str) or form not in FORMS:
        raise ValueError(f"the form must be one of: {', '.join(FORMS)}")
    return op, form


def header(code: int, *, ending: bool = False) -> bytes:
    return f"prx-tunnel/{VERSION} {code}{' ending' if ending else ''}\n".encode()


async def send(connection: socket.socket, data: bytes) -> None:
    while data:
        await anyio.wait_writable(connection)
        try:
            data = data[connection.send(data) :]
        except BlockingIOError:
            continue
