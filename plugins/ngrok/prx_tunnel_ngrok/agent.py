"""Drive one agent: start it, wait until visitors reach it, notice when they do not any more."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from pydantic import SecretStr

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.errors import ConnectError, SetupError, unwrap_group
from prx_tunnel_core.models import Check
from prx_tunnel_core.process import TunnelProcess, open_process
from prx_tunnel_ngrok import health
from prx_tunnel_ngrok.codes import Refusal, Treatment, refusal_in, words
from prx_tunnel_ngrok.log import AgentLog
from prx_tunnel_ngrok.reasons import explain

GRACE = 5.0  # seconds to stop in; the agent takes 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long things may take, in seconds."""

    start: float = 30.0
    """Until a new agent is connected; left alone it would try for ever."""
    between_tries: Sequence[float] = (3.0, 6.0, 12.0, 24.0)
    """Pauses before starting anew after a refusal that may be due to our own last agent: to
    ngrok, one that was killed is online until its heartbeat lapses, 25 s later."""
    refused: float = 60.0
    """That an agent which was connected may go on being refused for such a reason."""
    recovery: float = health.RECOVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start the agent."""

    command: Sequence[str]
    env: Mapping[str, SecretStr]
    secrets: Sequence[SecretStr]
    """What else may come back in the agent's output; no plain text is kept anywhere."""
    details: Mapping[str, str]


# The agent's last words when an argument or a file is at fault, not the network.
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
        """Wait until visitors reach the agent: None; or until ngrok refuses for a while.

        Raises SetupError for what someone must fix, ConnectError for what may pass.
        """
        with anyio.move_on_after(self._patience.start):
            await self._until(lambda: self.log.connected or self.log.refusal is not None)
        if self._ended:
            return self._judged(refusal_in(self.log.death()) or self.log.refusal)
        if self.log.connected:
            self.public_url = self.log.url or ""
            return None
        return self._judged(self.log.refusal)

    async def wait_closed(self) -> str:
        await self._until(lambda: self._patience_left() <= 0, wake_in=self._patience_left)
        if self._ended:
            return words(self.log.death()) or self.process.exit_reason()
        return str(self.log.refusal)

    async def check(self) -> Iterable[Check]:
        checks = [health.session(self.log, time.monotonic(), self._patience.recovery)]
        if self.log.inspector is not None:
            checks.append(await health.agent_answers(self.log.inspector))
        return checks

    def _patience_left(self) -> float:
        """Seconds until an agent is given up that, once connected, would itself try for ever."""
        refusal = self.log.refusal
        if refusal is None or refusal.treatment is Treatment.TRANSIENT:
            return math.inf
        if refusal.treatment is Treatment.PERMANENT or self.log.refused_at is None:
            return 0.0
        return self.log.refused_at + self._patience.refused - time.monotonic()

    async def _until(
        self, condition: Callable[[], bool], wake_in: Callable[[], float] = lambda: math.inf
    ) -> None:
        """Return when the condition holds, or the agent has ended and all it said is read."""
        with unwrap_group():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._notice_end)
                while not self._ended and not condition():
                    with anyio.move_on_after(max(0.0, wake_in())):
                        await self._changed.wait()
                tasks.cancel_scope.cancel()

    async def _notice_end(self) -> None:
        await self.process.wait()
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _judged(self, refusal: Refusal | None) -> Refusal:
        """The refusal when it may pass soon; everything else that prevents connecting is raised."""
        if refusal is None:
            raise self._why_not()
        if refusal.treatment is Treatment.PERMANENT:
            raise SetupError(f"ngrok refuses: {refusal}")
        if refusal.treatment is Treatment.TRANSIENT:
            raise ConnectError(f"ngrok refuses: {refusal}")
        return refusal

    def _why_not(self) -> SetupError | ConnectError:
        if not self._ended:
            reason = explain(self.log.error) if self.log.error else "ngrok's service did not answer"
            return ConnectError(f"not connected after {self._patience.start:g} s: {reason}")
        text = words(self.log.death())
        if "address already in use" in text:
            return ConnectError(
                f"the port of the agent's local page is taken ({text}); if this lasts, set another "
                "tunnel.ngrok.inspector_port or none"
            )
        if any(sign in text.lower() for sign in _OUR_FAULT):
            return SetupError(f"the agent does not start: {text}")
        return ConnectError(f"the agent ended: {text}" if text else self.process.exit_reason())
