"""Everything that can be wrong with a node, with the fix and the messages that indicate it.

What `tailscale` says when it refuses is used for reasons only: whether a route is up is read from
JSON. The sentences are those of 1.52 to 1.102, of the program itself unless noted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prx_tunnel_core import ConnectError, ProgramExited, SetupError, TunnelError
from prx_tunnel_core.programs import Version

MINIMUM = Version(1, 52)
"""Brought foreground sessions and today's flags: `--https`, `--set-path`, `--bg`."""
UPDATE = "update it: https://tailscale.com/download"


class EditRace(ConnectError):
    """Another program changed the node's routes at the same moment: retried at once."""


class Unreadable(ConnectError):
    """The program's answer has an unknown format."""


@dataclass(frozen=True, slots=True)
class Problem:
    name: str
    """For tests and logs."""
    what: str
    fix: str
    kind: type[SetupError | ConnectError] = SetupError

    def error(self, detail: str = "") -> SetupError | ConnectError:
        said = f" ({detail})" if detail else ""
        return self.kind(f"{self.what}{said}; {self.fix}")


DAEMON_DOWN = Problem(
    "daemon-down",
    "tailscaled is not running, or not reachable at its socket",
    "start it (Linux: sudo systemctl enable --now tailscaled; macOS and Windows: open the "
    "Tailscale app), or set tunnel.tailscale.socket to the socket of your own",
    ConnectError,  # it comes back after an upgrade, and so does the tunnel
)
DAEMON_LOST = Problem(
    "daemon-lost",
    "tailscaled ended or restarted",
    "prx retries as soon as the daemon answers",
    ConnectError,
)
SOCKET_DENIED = Problem(
    "socket-denied",
    "this user may not open tailscaled's socket",
    "run as a user who may, or run your own tailscaled (see the documentation: rootless)",
)
SETTLING = Problem(
    "starting",
    "tailscaled is still starting",
    "prx retries; if this lasts, see: tailscale status",
    ConnectError,
)
LOGGED_OUT = Problem(
    "logged-out", "this node is not logged in to a tailnet", "run: sudo tailscale up"
)
KEY_EXPIRED = Problem(
    "key-expired",
    "this node's key has expired",
    "run: sudo tailscale up --force-reauth; for a server, disable key expiry on the machine's page "
    "at https://login.tailscale.com/admin/machines",
)
NEEDS_APPROVAL = Problem(
    "needs-approval",
    "this machine is not yet approved by an admin of the tailnet",
    "approve it at https://login.tailscale.com/admin/machines",
)
STOPPED = Problem("stopped", "Tailscale is stopped on this machine", "run: sudo tailscale up")
OTHER_USER = Problem(
    "other-user",
    "Tailscale is in use by another user of this machine",
    "have that user disconnect, or run Tailscale unattended",
)
NO_NAME = Problem(
    "no-name",
    "this node has no DNS name in its tailnet",
    "turn on MagicDNS at https://login.tailscale.com/admin/dns",
)
HTTPS_OFF = Problem(
    "https-off",
    "the tailnet has no HTTPS certificates",
    'turn on "HTTPS Certificates" at https://login.tailscale.com/admin/dns',
)
FUNNEL_OFF = Problem(
    "funnel-off",
    "Funnel is not enabled for this node",
    'give it the node attribute "funnel" in the policy: '
    "https://login.tailscale.com/admin/acls (see https://tailscale.com/s/no-funnel)",
)
ENABLED_NOW = Problem("enabled-now", "it was enabled just now", "prx retries", ConnectError)
PORT_NOT_ALLOWED = Problem(
    "port-not-allowed",
    "the tailnet does not allow this port for Funnel",
    "set tunnel.tailscale.funnel_port to one that it allows",
)
PORT_TAKEN = Problem(
    "port-taken",
    "the port already serves something else on this node",
    "choose another tunnel.tailscale.funnel_port (443, 8443 and 10000 can be used side by side), "
    "or remove it yourself; see: tailscale funnel status --json",
)
STALE_FUNNEL = Problem(
    "stale-funnel",
    "Funnel is still on for this port, so that what serves the tailnet would be public",
    "turn it off: tailscale serve --bg --tcp=PORT tcp://127.0.0.1:9 && tailscale serve --tcp=PORT "
    "off; or choose another tunnel.tailscale.funnel_port",
)
NO_PERMISSION = Problem(
    "no-permission",
    "tailscaled lets only root and its operator change what the node serves",
    "run once: sudo tailscale set --operator=$USER",
)
SHIELDS_UP = Problem(
    "shields-up",
    "this node refuses incoming connections (shields up)",
    "run: sudo tailscale set --shields-up=false",
)
EDIT_RACE = Problem(
    "edit-race",
    "another program changed what the node serves at the same moment",
    "prx retries",
    EditRace,
)
NOT_SETTLED = Problem(
    "no-netmap",
    "tailscaled has not heard from the tailnet yet",
    "prx retries",
    ConnectError,
)
TOO_OLD = Problem(
    "too-old",
    f"this tailscale is too old: {MINIMUM} or newer is required",
    UPDATE,
)
TARGET_REFUSED = Problem(
    "target-refused",
    "this tailscale cannot forward to that address",
    'set tunnel.local_host = "127.0.0.1", or update tailscale to 1.92 or later',
)

_SAID: tuple[tuple[str, Problem], ...] = (
    # The order counts: the first that fits. A socket that may not be opened is also "not running".
    ("connect: permission denied", SOCKET_DENIED),
    ("failed to connect to local tailscale", DAEMON_DOWN),  # also the daemon, the service
    ("unexpected eof", DAEMON_LOST),
    ("lost connection to tailscaled", DAEMON_LOST),
    ("logged out.", LOGGED_OUT),
    ("tailscale is stopped.", STOPPED),
    ("tailscale is starting. please wait", SETTLING),
    ("not yet approved by tailnet admin", NEEDS_APPROVAL),
    ("https must be enabled", HTTPS_OFF),
    ('"funnel" node attribute not set', FUNNEL_OFF),
    ("is not allowed for funnel", PORT_NOT_ALLOWED),
    ("access denied", NO_PERMISSION),
    ("while shields-up is enabled", SHIELDS_UP),
    ("etag mismatch", EDIT_RACE),
    ("another client is changing the serve config", EDIT_RACE),
    ("listener already exists for port", PORT_TAKEN),  # 1.92 and later, from the daemon
    ("foreground already exists under this port", PORT_TAKEN),  # until 1.90
    ("background configuration already exists", PORT_TAKEN),  # until 1.90
    ("already serving", PORT_TAKEN),
    ("netmap is nil", NOT_SETTLED),
    ("only localhost or 127.0.0.1 proxies", TARGET_REFUSED),  # until 1.90
    ("must include a scheme", TARGET_REFUSED),
    ("flag provided but not defined", TOO_OLD),
    ("the cli for serve and funnel has changed", TOO_OLD),
)

GONE = "handler does not exist"
"""What `off` says when there is nothing to remove."""


def find_problem(lines: Iterable[str]) -> tuple[Problem, str] | None:
    """The problem that the lines indicate, and the line."""
    spoken = [(line.strip(), line.lower()) for line in lines]
    for sentence, problem in _SAID:
        for line, lowered in spoken:
            if sentence in lowered:
                return problem, line
    return None


def explain(ended: ProgramExited) -> TunnelError:
    """The error with the fix; the program's own when the problem is unknown."""
    found = find_problem(ended.tail)
    if found is None:
        return ended
    problem, line = found
    return problem.error(line)
