"""The tokens by which processes are recognised, in the environment of every program we start.

A token names its host: a random part, so that no other process has it, then the process id, the
start and the namespaces of the host, so that a later guard can find out whether it still lives. A
program that is itself a host passes on the tokens of all hosts above it, each ended by `;`.

The guard imports this: standard library only.
"""

import itertools
import os
import sys
from functools import lru_cache

from prx_tunnel_core.process._reaper.procfs import origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VARIABLE = b"PRX_TUNNEL_CHILD"
TOKEN_VARIABLE = VARIABLE.decode()

_RANDOM = os.urandom(12).hex()
_numbers = itertools.count(1)


def host_token() -> str:
    """What the tokens of all children of this process begin with; a fork of it has another one.

    `RANDOM.PID.START.PID_NAMESPACE.TIME_NAMESPACE.`, with zeros for what cannot be known here.
    """
    return _host_token(os.getpid())


def new_token() -> str:
    """A token for one child, to be appended to those that this process itself was started with."""
    return f"{host_token()}{next(_numbers)};"


def agent_token() -> str:
    """The token of the agent of `prx start`.

    It has no number, so that `orphans` does not judge it: once the host is gone, it is unknown
    whether the agent had ended in order, which lets its children live on. Only the host's own guard
    ends them.
    """
    return f"{host_token()}agent;"


@lru_cache(maxsize=1)
def _host_token(pid: int) -> str:
    return ".".join((_RANDOM, str(pid), *map(str, origin()), ""))


if sys.platform != "win32":
    # The process id tells a fork from its parent, but not from a grandparent that has ended.
    os.register_at_fork(after_in_child=_host_token.cache_clear)


def of_host(host: bytes, spared: "Iterable[bytes]" = ()) -> "Callable[[bytes], bool]":
    """Judges whether an environment has a token of that host, and none of the spared tokens."""
    prefix, others = host.rstrip(b".") + b".", {bare(each) for each in spared}

    def carries(variables: bytes) -> bool:
        carried = tokens_in(variables)
        return any(each.startswith(prefix) for each in carried) and others.isdisjoint(carried)

    return carries


def bare(token: bytes) -> bytes:
    return token.rstrip(b";")


def tokens_in(variables: bytes) -> list[bytes]:
    """All tokens in an environment."""
    if VARIABLE not in variables:
        return []  # nearly every process
    _, *values = (b"\0" + variables).split(b"\0%b=" % VARIABLE)
    return [each for value in values for each in value.partition(b"\0")[0].split(b";")]


def last_token(variables: bytes) -> bytes:
    """The token of the innermost host; b"" when there is none or the chain is cut short."""
    value, end, _ = (b"\0" + variables).partition(b"\0%b=" % VARIABLE)[2].partition(b"\0")
    *chain, rest = value.split(b";")
    return chain[-1] if chain and end and not rest else b""
