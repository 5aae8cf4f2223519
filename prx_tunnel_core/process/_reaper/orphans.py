"""Find and end what is left of hosts that were killed together with their guards; Linux only.

The last token in the environment of a program names its host by id, start and namespaces (see
`tokens`). The id alone may belong to another process by now. The boot is not part of the name: no
environment outlives it.

What an agent of `prx start` left is not judged (see `tokens.agent_token`).

The guard imports this: standard library only.
"""

from prx_tunnel_core.process._reaper import sweep
from prx_tunnel_core.process._reaper.procfs import (
    arguments,
    environment,
    lives,
    origin,
    processes,
    same_user,
    state_and_group,
)
from prx_tunnel_core.process._reaper.tokens import last_token


def end_orphans(inherited: bytes) -> None:
    """End what `orphans` finds: TERM first, KILL half a second later."""
    hosts = {*orphans(inherited).values()}

    def of_a_dead_host(variables: bytes) -> bool:
        return host_of(variables) in hosts

    if hosts:
        asked = sweep.ask(of_a_dead_host)
        sweep.wait_while(lambda: sweep.left(asked, of_a_dead_host))
        sweep.kill(of_a_dead_host)


def orphans(inherited: bytes) -> dict[int, bytes]:
    """The processes of this user whose host and its guard are gone, each with its host.

    Those of a host that the `inherited` environment names are left out: this process was started by
    them, and so perhaps was the terminal that it runs in.
    """
    hosts = {pid: dead_host(pid) for pid in processes()}
    found = {pid: host for pid, host in hosts.items() if host and host not in inherited}
    if not found:
        return {}
    # A guard ends its host's programs itself, and gives them time.
    guarded = {guarded_host(pid) for pid in processes()}
    found = {pid: host for pid, host in found.items() if host not in guarded}
    # Looked at again, as a guard may have ended them before `guarded` was known.
    return {pid: host for pid, host in found.items() if dead_host(pid) == host}


def guarded_host(pid: int) -> bytes:
    """The token of the host whose guard this process is; b"" when it is none.

    A guard that is stopped does not count, nor does a process with the token elsewhere in its
    arguments, nor one of another user, who can start anything with the arguments of a guard.
    """
    _, *words = arguments(pid).split(b"\0")
    if len(words) != 6 or words[:2] != [b"-I", b"-S"] or not words[2].endswith(b"/guard_main.py"):
        return b""
    works = same_user(pid) and state_and_group(pid)[0] not in b"TtZX"
    return words[4] if works else b""


def dead_host(pid: int) -> bytes:
    """The token of the host that started the process, if that is certainly gone; else b"".

    A host in another namespace is not judged, as its id means something else there, nor one whose
    token does not have its start.
    """
    host = host_of(environment(pid) or b"")
    if not host:
        return b""
    number, started, *namespaces = map(int, host.split(b".")[1:5])
    known_here = started and namespaces[0] and (*namespaces,) == origin()[1:]
    return host if known_here and same_user(pid) and not lives(number, started) else b""


def host_of(variables: bytes) -> bytes:
    """The innermost host that an environment names, as `tokens.host_token` has it, or b""."""
    host, _, child = last_token(variables).rpartition(b".")
    _, *fields = host.split(b".")
    return host + b"." if len(fields) == 4 and all(map(is_number, [*fields, child])) else b""


def is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) < 20
