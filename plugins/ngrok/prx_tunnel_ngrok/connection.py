"""A running agent: started, waited for until visitors reach it, and checked while it is up."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

import anyio
import anyio.to_thread
from pydantic import SecretStr

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.errors import ConnectError, SetupError
from prx_tunnel_core.models import Check, Verdict
from prx_tunnel_core.process import TunnelProcess, open_process
from prx_tunnel_core.programs import time_left, while_running
from prx_tunnel_core.text import one_line
from prx_tunnel_ngrok.log import AgentLog
from prx_tunnel_ngrok.reasons import Refusal, Treatment, explain, refusal_in, words

GRACE = 5.0  # seconds to stop in; the agent takes 0.3
# Seconds that the agent may take to reconnect by itself: it pauses up to 30 s between tries.
RECOVERY = 60.0
ANSWER = 5.0  # seconds for a local answer
LONGEST_ANSWER = 1 << 16  # bytes

PROBE_HEADERS = {"ngrok-skip-browser-warning": "1"}
"""Without it, ngrok's free plan answers with an interstitial page."""

# ngrok sets `ngrok-error-code` on the pages that it answers itself, and removes the header from
# answers of an upstream. Source: ngrok-docs, endpoints/http and errors.
_PAGES: Mapping[str, tuple[Verdict, str]] = {
    "ERR_NGROK_3200": ("fail", "ngrok says that the tunnel is offline (ERR_NGROK_3200)"),
    "ERR_NGROK_8012": ("unknown", "ngrok could not reach the local port (ERR_NGROK_8012)"),
    "ERR_NGROK_6024": ("ok", "ngrok's page before the first visit (ERR_NGROK_6024)"),
}


def classify_response(_status: int, headers: Mapping[str, str]) -> Check | None:
    """Recognise a page that ngrok answers itself, instead of the application."""
    code = headers.get("ngrok-error-code")
    if not code:
        return None
    return Check("edge", *_PAGES.get(code, ("unknown", f"ngrok answered {one_line(code)[:40]}")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long things may take, in seconds."""

    start: float = math.inf
    """Until a new agent is connected; at most `time_left`. Left alone it would try for ever."""
    between_tries: Sequence[float] = (3.0, 6.0, 12.0, 24.0)
    """Pauses before another start after a refusal that may be due to our own last agent: to
    ngrok, one that was killed is online until its heartbeat lapses, 25 s later."""
    refused: float = 60.0
    """That an agent which was connected may go on being refused for such a reason."""
    recovery: float = RECOVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The agent's arguments, environment and secrets."""

    command: Sequence[str]
    env: Mapping[str, SecretStr]
    secrets: Sequence[SecretStr]
    """What else may come back in the agent's output; no plain text is kept anywhere."""
    details: Mapping[str, str]


# In the agent's last lines when an argument or a file is at fault, not the network.
_OUR_FAULT = (
    "error reading configuration file",
    "flag provided but not defined",
    "unknown flag",
    "unknown command",
    "unrecognized command",
    "traffic policy",
)


@asynccontextmanager
async def running(
    launch: Launch, target: Target, patience: Patience
) -> AsyncIterator[RunningAgent]:
    """An agent that runs while the context lasts; TERM ends it in order, within 0.3 s."""
    agent = RunningAgent(AgentLog(target, time.monotonic), launch.details, patience)
    async with open_process(
        launch.command,
        env=launch.env,
        secrets=(secret.get_secret_value() for secret in launch.secrets),
        on_line=agent.take,
        grace=GRACE,
    ) as process:
        agent.process = process
        yield agent


class RunningAgent(Connection):
    process: TunnelProcess

    def __init__(self, log: AgentLog, details: Mapping[str, str], patience: Patience) -> None:
        self.log = log
        self.details = details
        self._patience = patience
        self._changed = anyio.Event()
        self._ended = False

    def take(self, line: str) -> None:
        """One line of the agent's output."""
        if self.log.feed(line):
            self._wake()

    async def connected(self) -> Refusal | None:
        """Wait until visitors can reach the agent (None), or ngrok refuses for a while.

        Raises SetupError for errors that the user must fix, ConnectError for transient ones.
        """
        patience = time_left(self._patience.start)
        with anyio.move_on_after(patience):
            await self._until(lambda: self.log.connected or self.log.refusal is not None)
        if self._ended:
            return self._judged(refusal_in(self.log.death()) or self.log.refusal, patience)
        if self.log.connected:
            self.public_url = self.log.url or ""
            return None
        return self._judged(self.log.refusal, patience)

    async def wait_closed(self) -> str:
        await self._until(lambda: self._patience_left() <= 0, wake_in=self._patience_left)
        if self._ended:
            return words(self.log.death()) or self.process.exit_reason()
        return str(self.log.refusal)

    async def check(self) -> Iterable[Check]:
        checks = [session(self.log, time.monotonic(), self._patience.recovery)]
        if self.log.inspector is not None:
            checks.append(await agent_answers(self.log.inspector))
        return checks

    def _patience_left(self) -> float:
        """Seconds until the agent is ended, which would itself retry for ever."""
        refusal = self.log.refusal
        if refusal is None or refusal.treatment is Treatment.TRANSIENT:
            return math.inf
        if refusal.treatment is Treatment.PERMANENT or self.log.refused_at is None:
            return 0.0
        return self.log.refused_at + self._patience.refused - time.monotonic()

    async def _until(
        self, condition: Callable[[], bool], wake_in: Callable[[], float] = lambda: math.inf
    ) -> None:
        """Return when the condition holds, or the agent has ended and all its output is read."""

        async def hold() -> bool:
            while not condition():
                with anyio.move_on_after(max(0.0, wake_in())):
                    await self._changed.wait()
            return True

        if await while_running(self.process, hold) is None:
            self._ended = True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _judged(self, refusal: Refusal | None, patience: float) -> Refusal:
        """Return a refusal that may pass soon; raise every other one."""
        if refusal is None:
            raise self._why_not(patience)
        if refusal.treatment is Treatment.PERMANENT:
            raise SetupError(f"ngrok refuses: {refusal}")
        if refusal.treatment is Treatment.TRANSIENT:
            raise ConnectError(f"ngrok refuses: {refusal}")
        return refusal

    def _why_not(self, patience: float) -> SetupError | ConnectError:
        if not self._ended:
            reason = explain(self.log.error) if self.log.error else "ngrok's service did not answer"
            return ConnectError(f"not connected after {round(patience, 1):g} s: {reason}")
        text = words(self.log.death())
        if "address already in use" in text:
            return ConnectError(
                f"the port of the agent's local page is taken ({text}); if this lasts, set another "
                "tunnel.ngrok.inspector_port or none"
            )
        if any(sign in text.lower() for sign in _OUR_FAULT):
            return SetupError(f"the agent does not start: {text}")
        return ConnectError(f"the agent ended: {text}" if text else self.process.exit_reason())


def session(log: AgentLog, now: float, recovery: float = RECOVERY) -> Check:
    """The state of the agent's session with ngrok, from its log."""
    if log.connected:
        times = "once" if log.losses == 1 else f"{log.losses} times"
        notes = [f"reconnected {times}"] if log.losses else []
        if log.unreachable_target:
            notes.append(f"a request found the local port closed: {log.unreachable_target}")
        return Check("session", "ok", "; ".join(["online", *notes]))
    lost_for = 0.0 if log.lost_at is None else now - log.lost_at
    detail = (
        f"the agent has been reconnecting for {lost_for:.0f} s: {log.error or 'no reason given'}"
    )
    return Check("session", "unknown" if lost_for < recovery else "fail", detail)


async def agent_answers(address: str) -> Check:
    """Whether the agent still answers: a frozen one logs nothing.

    Asks for `/api/status`, seldom, since the agent logs each request. A good status
    proves nothing, and `/api/tunnels` is not asked: it lists lost tunnels too.
    """
    try:
        with anyio.fail_after(ANSWER):
            status = await anyio.to_thread.run_sync(_ask, address, ANSWER, abandon_on_cancel=True)
    except (OSError, HTTPException) as error:
        reason = str(error) or type(error).__name__
        return Check("agent", "fail", f"its local API does not answer: {reason}")
    if status in ("", "online"):
        return Check("agent", "ok", "answers")
    return Check("agent", "unknown", f"reports its status as {status}")


def _ask(address: str, timeout: float) -> str:
    """The status that the agent reports; empty for any other answer."""
    with closing(HTTPConnection(address, timeout=timeout)) as connection:
        connection.request("GET", "/api/status")
        answer = connection.getresponse()
        body = answer.read(LONGEST_ANSWER)
    if answer.status != 200:
        return ""
    try:
        return str(json.loads(body)["status"])[:40]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
