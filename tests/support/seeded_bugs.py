"""The bugs that `tests/mutations.py` seeds into the supervisor, one at a time."""

from __future__ import annotations

from dataclasses import dataclass

from support.tunnel_model import Invariant


@dataclass(frozen=True)
class Bug:
    what: str
    breaks: Invariant
    right: str
    """Stands in one place of `prx_tunnel_core/_supervisor/`."""
    wrong: str


BUGS = (
    Bug(
        "start does not wait for the old connection to go",
        Invariant.ONE,
        "await self._run.finished.wait()  # the old connection goes before a new one comes",
        "self._run = None",
    ),
    Bug(
        "start does not see that it was stopped while it waited",
        Invariant.WANTED,
        "self._stops += 1",
        "self._stops += 0",
    ),
    Bug(
        "a stop while a connection closes is seen after the next attempt has begun",
        Invariant.WANTED,
        "            await anyio.lowlevel.checkpoint_if_cancelled()\n",
        "",
    ),
    Bug(
        "the end of a connection is decided on twice",
        Invariant.LEGAL,
        "if not self._planned:",
        "if True:",
    ),
    Bug(
        "the pause before an attempt cannot be cancelled",
        Invariant.IMMEDIATE,
        "            await suspend.sleep(self._ladder.delay)\n",
        "            with anyio.CancelScope(shield=True):\n"
        "                await suspend.sleep(self._ladder.delay)\n"
        "            await anyio.sleep(0)\n",
    ),
    Bug(
        "stop does not wait",
        Invariant.STOPPED,
        "            self._run.scope.cancel()\n            await self._run.finished.wait()\n",
        "            self._run.scope.cancel()\n",
    ),
    Bug(
        "the failure of the same moment wins over a stop",
        Invariant.STOP_WINS,
        "stopped = run.scope.cancel_called and not isinstance(run.error, ProgramStuck)",
        "stopped = False",
    ),
    Bug(
        "a SetupError while connecting is retried",
        Invariant.SETUP,
        "            if isinstance(ended.error, SetupError):\n                return ended.error\n",
        "",
    ),
    Bug(
        "a SetupError of an open connection is retried",
        Invariant.SETUP,
        "        if isinstance(ended.error, SetupError):\n            self._error",
        "        if False:\n            self._error",
    ),
    Bug(
        "one failed check too few disconnects",
        Invariant.PATIENCE,
        "failed >= config.health_check_failures",
        "failed >= config.health_check_failures - 1",
    ),
    Bug(
        "a success does not clear the failures",
        Invariant.PATIENCE,
        "failed = 0  # what is merely",
        "failed += 0  # what is merely",
    ),
    Bug(
        "a check right after a suspend counts",
        Invariant.PATIENCE,
        "failed += not (woken or self._has_patience())",
        "failed += 1",
    ),
    Bug(
        "one failed check too many is waited for",
        Invariant.ACTS,
        "failed >= config.health_check_failures",
        "failed > config.health_check_failures",
    ),
    Bug(
        "what is unknown clears the failures",
        Invariant.ACTS,
        'elif any(check.verdict == "ok" for check in result.checks if _remote(check)):',
        "else:",
    ),
    Bug(
        "the URL of a closed connection stays until it is cleared away",
        Invariant.URL,
        "if by_itself:",
        "if False:",
    ),
    Bug(
        "the URL is remembered",
        Invariant.URL,
        "        return self.now.info if isinstance(self.now, Connected) else None\n",
        "        if isinstance(self.now, Connected):\n"
        "            self._shown = self.now.info\n"
        '        return getattr(self, "_shown", None)\n',
    ),
    Bug(
        "start joins a run that has given up",
        Invariant.START,
        "or (self.life is not None and self.life.gave_up)",
        "or False",
    ),
    Bug(
        "Reconnecting is shown before an unhealthy connection is closed",
        Invariant.HOLDS_NOTHING,
        "if by_itself:",
        "if ends:",
    ),
    Bug(
        "an attempt has no deadline",
        Invariant.BOUNDED,
        "deadline=anyio.current_time() + self.limit)",
        "deadline=math.inf)",
    ),
    Bug(
        "the deadline of the attempt stays when it is connected",
        Invariant.NO_DEADLINE,
        "scope.deadline = math.inf\n",
        "scope.deadline += 0\n",
    ),
    Bug(
        "any connection makes the next drop a first one",
        Invariant.ATTEMPTS,
        "if seconds >= max(STABLE, 2 * self.delay):",
        "if seconds >= 0:",
    ),
    Bug(
        "a stable connection does not",
        Invariant.ATTEMPTS,
        "if seconds >= max(STABLE, 2 * self.delay):",
        "if seconds < 0:",
    ),
    Bug(
        "a connection shorter than two delays counts as stable",
        Invariant.ATTEMPTS,
        "max(STABLE, 2 * self.delay)",
        "STABLE",
    ),
    Bug(
        "one attempt more than the last",
        Invariant.LAST,
        "self.attempt >= self.config.max_attempts",
        "self.attempt > self.config.max_attempts",
    ),
    Bug(
        "one attempt less",
        Invariant.LAST,
        "self.attempt >= self.config.max_attempts",
        "self.attempt >= self.config.max_attempts - 1",
    ),
    Bug(
        "the delay has no maximum",
        Invariant.DELAY,
        "min(longest, base *",
        "max(base, base *",
    ),
    Bug(
        "the delay may be nothing",
        Invariant.DELAY,
        "return ceiling / 2 + ",
        "return ",
    ),
    Bug(
        "a provider that asks for time is not given it",
        Invariant.FLOOR,
        "at_least = error.retry_after if isinstance(error, ConnectError) else 0.0",
        "at_least = 0.0",
    ),
    Bug(
        "the delay is announced, and not kept",
        Invariant.DUE,
        "await suspend.sleep(self._ladder.delay)",
        "await suspend.sleep(0)",
    ),
    Bug(
        "the way back from offline is not noticed",
        Invariant.DUE,
        "while not self._parts.online():",
        "while True:",
    ),
    Bug(
        "attempts while offline count",
        Invariant.OFFLINE,
        "counted=not self._offline",
        "counted=True",
    ),
)
