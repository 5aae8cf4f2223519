"""What the agent says of its tunnel, as checks."""

from __future__ import annotations

import ssl

from prx_tunnel_core.models import Check
from prx_tunnel_ngrok.log import AgentLog

# Seconds that the agent may take to reconnect by itself: it pauses up to 30 s between tries.
RECOVERY = 60.0
ANSWER = 5.0  # seconds for a local answer


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
    import httpx

    # Without the certificates that a client loads by default: this is plain HTTP on loopback.
    no_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        async with httpx.AsyncClient(
            timeout=ANSWER, trust_env=False, verify=no_certificates
        ) as client:
            answer = await client.get(f"http://{address}/api/status")
        status = answer.json().get("status") if answer.status_code == 200 else None
    except httpx.HTTPError as error:
        return Check("agent", "fail", f"its local API does not answer: {type(error).__name__}")
    except (ValueError, AttributeError):
        status = None
    if status in (None, "online"):
        return Check("agent", "ok", "answers")
    return Check("agent", "unknown", f"says of itself: {str(status)[:40]}")
