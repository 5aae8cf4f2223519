"""The bugs that `tests/mutations.py` seeds into the supervisor, one at a time.

A bug names a function and a part of its syntax tree. Layout, comments and the rest of the function
may change freely.
"""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from pathlib import Path

from support.tunnel_model import Invariant

RUN = "_supervisor/run.py"
HEALTH = "_supervisor/health_monitor.py"
BACKOFF = "_supervisor/backoff.py"
BROADCAST = "_supervisor/broadcast.py"


class Misplaced(Exception):
    """The bug has no place in the code of today, or several."""


@dataclass(frozen=True)
class Bug:
    what: str
    breaks: Invariant
    module: str
    """Its path in `prx_tunnel_core`."""
    function: str
    """`Class.method`."""
    right: str
    """A statement or an expression that the function has once."""
    wrong: str
    """Replaces it; `pass` removes a statement."""

    def seed(self, tree: Path) -> None:
        """Write the bug into a copy of the code; raises Misplaced."""
        module = tree / "prx_tunnel_core" / self.module
        module.write_text(self.seeded(module.read_text(encoding="utf-8")), encoding="utf-8")

    def seeded(self, source: str) -> str:
        code = ast.parse(source)
        replace = _Replace(self.right, self.wrong)
        replace.visit(_function(code, self.function))
        if replace.count != 1:
            raise Misplaced(
                f"{self.module}: {self.function} has {self.right!r} {replace.count} times instead "
                f"of once; adapt {self.what!r} in tests/support/seeded_bugs.py"
            )
        return ast.unparse(code)


def _function(code: ast.Module, name: str) -> ast.AST:
    place: ast.AST = code
    for part in name.split("."):
        found = [node for node in ast.iter_child_nodes(place) if getattr(node, "name", "") == part]
        if len(found) != 1:
            raise Misplaced(f"{name} does not exist; adapt tests/support/seeded_bugs.py")
        place = found[0]
    return place


class _Replace(ast.NodeTransformer):
    def __init__(self, right: str, wrong: str) -> None:
        self.count = 0
        (old,), new = ast.parse(right).body, ast.parse(wrong).body
        self._right: ast.AST = old
        self._wrong: ast.AST | list[ast.stmt] = new
        match old, new:
            # An expression that another one replaces may stand inside of a statement.
            case ast.Expr(inner), [ast.Expr(other)]:
                self._right, self._wrong = inner, other
            case _:
                pass

    def visit(self, node: ast.AST) -> ast.AST | list[ast.stmt]:
        if ast.dump(node) != ast.dump(self._right):
            visited: ast.AST = self.generic_visit(node)
            return visited
        self.count += 1
        return copy.deepcopy(self._wrong)


BUGS = (
    Bug(
        "start does not wait for the old connection to go",
        Invariant.ONE,
        "tunnel.py",
        "Tunnel.start",
        "await self._run.finished.wait()",
        "self._run = None",
    ),
    Bug(
        "start does not see that it was stopped while it waited",
        Invariant.WANTED,
        "tunnel.py",
        "Tunnel.stop",
        "self._stops += 1",
        "pass",
    ),
    Bug(
        "a stop while a connection closes is seen after the next attempt has begun",
        Invariant.WANTED,
        RUN,
        "Run._keep_connected",
        "await anyio.lowlevel.checkpoint_if_cancelled()",
        "pass",
    ),
    Bug(
        "the end of a connection is decided on twice",
        Invariant.LEGAL,
        RUN,
        "Run._keep_connected",
        "not self._planned",
        "True",
    ),
    Bug(
        "the pause before an attempt cannot be cancelled",
        Invariant.IMMEDIATE,
        RUN,
        "Run._pause",
        "await suspend.sleep(self._backoff.delay)",
        (
            "with anyio.CancelScope(shield=True):\n"
            "    await suspend.sleep(self._backoff.delay)\n"
            "await anyio.sleep(0)"
        ),
    ),
    Bug(
        "stop does not wait",
        Invariant.STOPPED,
        "tunnel.py",
        "Tunnel.stop",
        "await self._run.finished.wait()",
        "pass",
    ),
    Bug(
        "the failure of the same moment wins over a stop",
        Invariant.STOP_WINS,
        RUN,
        "Run.supervise",
        "self.scope.cancel_called and not isinstance(self.error, ProgramStuck)",
        "False",
    ),
    Bug(
        "a SetupError while connecting is retried",
        Invariant.SETUP,
        RUN,
        "Run._keep_connected",
        ("if isinstance(ended.error, SetupError):\n    return ended.error"),
        "pass",
    ),
    Bug(
        "a SetupError of an open connection is retried",
        Invariant.SETUP,
        RUN,
        "Run._dropped",
        "isinstance(ended.error, SetupError)",
        "False",
    ),
    Bug(
        "one failed check too few disconnects",
        Invariant.PATIENCE,
        HEALTH,
        "HealthMonitor.until_unhealthy",
        "failed >= config.health_check_failures",
        "failed >= config.health_check_failures - 1",
    ),
    Bug(
        "a success does not clear the failures",
        Invariant.PATIENCE,
        HEALTH,
        "HealthMonitor.until_unhealthy",
        "_health.confirmed(result)",
        "False",
    ),
    Bug(
        "a check right after a suspend counts",
        Invariant.PATIENCE,
        HEALTH,
        "HealthMonitor.until_unhealthy",
        "not (woken or self._has_patience())",
        "True",
    ),
    Bug(
        "one failed check too many is waited for",
        Invariant.ACTS,
        HEALTH,
        "HealthMonitor.until_unhealthy",
        "failed >= config.health_check_failures",
        "failed > config.health_check_failures",
    ),
    Bug(
        "what is unknown clears the failures",
        Invariant.ACTS,
        HEALTH,
        "HealthMonitor.until_unhealthy",
        "_health.confirmed(result)",
        "True",
    ),
    Bug(
        "the URL of a closed connection stays until it is cleared away",
        Invariant.URL,
        RUN,
        "Run._stay",
        ("if by_itself:\n    self._dropped(ended)"),
        "pass",
    ),
    Bug(
        "the URL is remembered",
        Invariant.URL,
        BROADCAST,
        "StatusBroadcast.info",
        "return self.now.info if isinstance(self.now, Connected) else None",
        (
            "if isinstance(self.now, Connected):\n"
            "    self._shown = self.now.info\n"
            'return getattr(self, "_shown", None)'
        ),
    ),
    Bug(
        "start joins a run that has given up",
        Invariant.START,
        RUN,
        "Run.is_ending",
        "self.error is not None",
        "False",
    ),
    Bug(
        "Reconnecting is shown before an unhealthy connection is closed",
        Invariant.HOLDS_NOTHING,
        RUN,
        "Run._stay",
        ("if by_itself:\n    self._dropped(ended)"),
        "self._dropped(ended)",
    ),
    Bug(
        "an attempt has no deadline",
        Invariant.BOUNDED,
        RUN,
        "Run._attempt",
        "anyio.CancelScope(deadline=anyio.current_time() + limit)",
        "anyio.CancelScope()",
    ),
    Bug(
        "the deadline of the attempt stays when it is connected",
        Invariant.NO_DEADLINE,
        RUN,
        "Run._attempt",
        "scope.deadline = math.inf",
        "pass",
    ),
    Bug(
        "any connection makes the next drop a first one",
        Invariant.ATTEMPTS,
        BACKOFF,
        "Backoff.was_connected",
        "seconds >= max(STABLE, 2 * self.delay)",
        "seconds >= 0",
    ),
    Bug(
        "a stable connection does not",
        Invariant.ATTEMPTS,
        BACKOFF,
        "Backoff.was_connected",
        "seconds >= max(STABLE, 2 * self.delay)",
        "seconds < 0",
    ),
    Bug(
        "a connection shorter than two delays counts as stable",
        Invariant.ATTEMPTS,
        BACKOFF,
        "Backoff.was_connected",
        "max(STABLE, 2 * self.delay)",
        "STABLE",
    ),
    Bug(
        "one attempt more than the last",
        Invariant.LAST,
        BACKOFF,
        "Backoff.next",
        "self.attempt >= self.config.max_attempts",
        "self.attempt > self.config.max_attempts",
    ),
    Bug(
        "one attempt less",
        Invariant.LAST,
        BACKOFF,
        "Backoff.next",
        "self.attempt >= self.config.max_attempts",
        "self.attempt >= self.config.max_attempts - 1",
    ),
    Bug(
        "the delay has no maximum",
        Invariant.DELAY,
        BACKOFF,
        "Backoff._jittered",
        "min(longest, base * (1 << doublings))",
        "base * (1 << doublings)",
    ),
    Bug(
        "the delay may be nothing",
        Invariant.DELAY,
        BACKOFF,
        "Backoff._jittered",
        "ceiling / 2 + self.uniform() * ceiling / 2",
        "self.uniform() * ceiling / 2",
    ),
    Bug(
        "a provider that asks for time is not given it",
        Invariant.FLOOR,
        RUN,
        "Run._plan",
        "error.retry_after if isinstance(error, ConnectError) else 0.0",
        "0.0",
    ),
    Bug(
        "the delay is announced, and not kept",
        Invariant.DUE,
        RUN,
        "Run._pause",
        "await suspend.sleep(self._backoff.delay)",
        "await suspend.sleep(0)",
    ),
    Bug(
        "the way back from offline is not noticed",
        Invariant.DUE,
        RUN,
        "Run._pause",
        "not self._is_online()",
        "True",
    ),
    Bug(
        "attempts while offline count",
        Invariant.OFFLINE,
        RUN,
        "Run._plan",
        "not self._offline",
        "True",
    ),
)
