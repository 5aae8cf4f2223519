"""What `tailscale` says when it refuses, and what that means.

Used for reasons only: whether a route is up is read from JSON. The sentences are those of 1.52 to
1.102, of the program itself unless noted.
"""

from __future__ import annotations

from collections.abc import Iterable

from prx_tunnel_core import ProgramExited, TunnelError
from prx_tunnel_tailscale import problems
from prx_tunnel_tailscale.problems import Problem

_SAID: tuple[tuple[str, Problem], ...] = (
    # The order counts: the first that fits. A socket that may not be opened is also "not running".
    ("connect: permission denied", problems.SOCKET_DENIED),
    ("failed to connect to local tailscale", problems.DAEMON_DOWN),  # also the daemon, the service
    ("unexpected eof", problems.DAEMON_LOST),
    ("lost connection to tailscaled", problems.DAEMON_LOST),
    ("logged out.", problems.LOGGED_OUT),
    ("tailscale is stopped.", problems.STOPPED),
    ("tailscale is starting. please wait", problems.SETTLING),
    ("not yet approved by tailnet admin", problems.NEEDS_APPROVAL),
    ("https must be enabled", problems.HTTPS_OFF),
    ('"funnel" node attribute not set', problems.FUNNEL_OFF),
    ("is not allowed for funnel", problems.PORT_NOT_ALLOWED),
    ("access denied", problems.NO_PERMISSION),
    ("while shields-up is enabled", problems.SHIELDS_UP),
    ("etag mismatch", problems.EDIT_RACE),
    ("another client is changing the serve config", problems.EDIT_RACE),
    ("listener already exists for port", problems.PORT_TAKEN),  # 1.92 and later, from the daemon
    ("foreground already exists under this port", problems.PORT_TAKEN),  # until 1.90
    ("background configuration already exists", problems.PORT_TAKEN),  # until 1.90
    ("already serving", problems.PORT_TAKEN),
    ("netmap is nil", problems.NOT_SETTLED),
    ("only localhost or 127.0.0.1 proxies", problems.TARGET_REFUSED),  # until 1.90
    ("must include a scheme", problems.TARGET_REFUSED),
    ("flag provided but not defined", problems.TOO_OLD),
    ("the cli for serve and funnel has changed", problems.TOO_OLD),
)

GONE = "handler does not exist"
"""What `off` says when there is nothing to remove."""


def find_problem(lines: Iterable[str]) -> tuple[Problem, str] | None:
    """The problem that the lines tell of, and the line."""
    spoken = [(line.strip(), line.lower()) for line in lines]
    for sentence, problem in _SAID:
        for line, lowered in spoken:
            if sentence in lowered:
                return problem, line
    return None


def explain(ended: ProgramExited) -> TunnelError:
    """The error that a person can act on; the program's own when nothing better is known."""
    found = find_problem(ended.tail)
    if found is None:
        return ended
    problem, line = found
    return problem.error(line)
