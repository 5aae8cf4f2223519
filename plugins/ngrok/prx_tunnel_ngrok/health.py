"""What the agent says of its tunnel, as checks."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection, HTTPException

import anyio
import anyio.to_thread

from prx_tunnel_core.models import Check
from prx_tunnel_ngrok.log import AgentLog

# Seconds that the agent may take to reconnect by itself: it pauses up to 30 s between tries.
RECOVERY = 60.0
ANSWER = 5.0  # seconds for a local answer
LONGEST_ANSWER = 1 << 16  # bytes


def session(log: AgentLog, now: float, recovery: float = RECOVERY) -> Check:
    """The state of the agent's session with ngrok, from its log."""
    if log.connected:
        times = "once" if log.losses == 1 else f"{log.losses} times"
        notes = [f"reconnected {times}"] if log.losses else []
        if log.unreachable_target:
            notes.append(f"a visitor met a closed local port: {log.unreachable_target}")
        return Check("session", "ok", "; ".join(["online", *notes]))
    lost_for = 0.0 if log.lost_at is None else now - log.lost_at
    detail = (
        f"the agent has been reconnecting for {lost_for:.0f} s: {log.error or 'no reason given'}"
    )
    return Check("session", "unknown" if lost_for < recovery else "fail", detail)


async def agent_answers(address: str) -> Check:
    """Whether the agent still runs its course; a frozen one says nothing more in its log.

    Asks for `/api/status`, seldom, since the agent logs each request. What the API says of the
    tunnel is only used against it, and `/api/tunnels` not at all: it lists a lost tunnel.
    """
    try:
        with anyio.fail_after(ANSWER):
            status = await anyio.to_thread.run_sync(_ask, address, ANSWER, abandon_on_cancel=True)
    except (OSError, HTTPException) as error:
        reason = str(error) or type(error).__name__
        return Check("agent", "fail", f"its local API does not answer: {reason}")
    if status in ("", "online"):
        return Check("agent", "ok", "answers")
    return Check("agent", "unknown", f"says of itself: {status}")


def _ask(address: str, timeout: float) -> str:
    """What the agent says of itself; empty when its answer is something else."""
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
