"""Whether this machine has a route to other networks, and why a connection failed.

Both tell failures of the tunnel from those of this machine, which do not count against the tunnel.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from functools import partial

from prx_tunnel_core._isolation import call_in_thread, describe
from prx_tunnel_core.models import Verdict

_NO_WAY = frozenset({
    errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
})  # fmt: skip
# Errors that say nothing about the other side: no route, or no resources on this machine.
_OURS = _NO_WAY | {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN}

# The name does not exist. Other errors of a resolver (EAI_AGAIN) are about the resolver itself.
_NO_SUCH_NAME = frozenset(
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if hasattr(socket, name)
)

_ROUTE_FILES = ("/proc/net/route", "/proc/net/ipv6_route")
_ROUTE_UP, _ROUTE_REJECT = 0x1, 0x200
# Addresses reserved for documentation: only a default route leads to them.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def online(*, route_files: Sequence[str] = _ROUTE_FILES) -> bool:
    """Whether this machine has a route to other networks; True when that cannot be determined.

    Nothing is sent. Linux lists its routes in files. Without a default route in them, and on other
    systems, the kernel is asked for a route: with policy routing it knows more than the files.
    """
    if any(_has_default_route(path) for path in route_files):
        return True
    return any(_is_routed(family, address) for family, address in _ELSEWHERE)


def _has_default_route(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return False
    return any(_is_default_v6(row) or _is_default_v4(row) for row in rows)


def _is_default_v4(row: list[str]) -> bool:
    """Columns: interface, destination, gateway, flags, …, the mask as the eighth."""
    if len(row) < 8 or row[1] != "00000000" or row[7] != "00000000":
        return False
    return _is_usable(row[3])


def _is_default_v6(row: list[str]) -> bool:
    """Columns: destination, prefix length, …, flags as the ninth, interface."""
    if len(row) != 10 or row[:2] != ["0" * 32, "00"]:
        return False
    return _is_usable(row[8])


def _is_usable(flags: str) -> bool:
    return int(flags, 16) & (_ROUTE_UP | _ROUTE_REJECT) == _ROUTE_UP


def _is_routed(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # for UDP, this only selects a route
    except OSError as error:
        return error.errno not in _NO_WAY
    return True


async def resolve(host: str, port: int) -> None:
    """Look up the name; raises `socket.gaierror` when it does not resolve.

    It runs in a thread that a deadline can abandon: with unreachable DNS servers the call takes
    half a minute, during which a thread of the event loop's pool would keep the process from
    ending.
    """
    await call_in_thread(partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))


def explain(error: BaseException, *, name_is_new: bool = False) -> tuple[Verdict, str]:
    """The verdict on the other side after a failed connection, and the reason for people.

    `name_is_new`: the host name may not be known everywhere yet.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return _explain_name(cause, name_is_new=name_is_new)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "fail", f"the TLS certificate is not valid: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "fail", f"TLS failed: {cause.reason or cause}"
    system = [cause for cause in causes if isinstance(cause, OSError)]
    if not system:
        return "unknown", f"the probe itself failed: {describe(error)}"
    numbers = {cause.errno for cause in system if cause.errno}
    reason = ", ".join(os.strerror(number) for number in sorted(numbers)) or describe(system[0])
    return ("unknown" if numbers and numbers <= _OURS else "fail"), reason


def _explain_name(error: socket.gaierror, *, name_is_new: bool) -> tuple[Verdict, str]:
    if error.errno not in _NO_SUCH_NAME:
        return "unknown", f"the name could not be looked up: {error.strerror}"
    if name_is_new:
        return "unknown", "the name does not resolve yet"
    return "fail", f"the name does not resolve: {error.strerror}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, including those of groups, which parallel attempts raise."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _causes(one)
    came_from = error.__cause__ or error.__context__
    if came_from is not None:
        yield from _causes(came_from)
