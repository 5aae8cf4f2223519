"""Why the agent cannot reach ngrok's service: the network's errors in words, with the fix."""

from __future__ import annotations

# In this order: a text may hold several, and the first is the more telling.
_REASONS: dict[tuple[str, ...], str] = {
    ("fetch crl",): (
        "something on the network answers plain HTTP in ngrok's place, so the agent cannot fetch "
        "its certificate revocation list; use another network, or have ngrok let through"
    ),
    ("x509", "certificate", "tls:"): (
        "something on the network breaks up TLS connections; have connect.ngrok-agent.com "
        "exempted, or set agent.connect_cas: host in ngrok's own configuration file"
    ),
    ("proxy",): "the proxy that HTTPS_PROXY or HTTP_PROXY names does not let the agent out",
    ("no such host", "lookup ", "no records", "server misbehaving"): (
        "ngrok's host name does not resolve; check this machine's DNS and its connection"
    ),
    ("i/o timeout", "deadline exceeded", "timed out"): (
        "no answer; allow outgoing connections to connect.ngrok-agent.com, port 443"
    ),
    ("connection refused", "connection reset", "unreachable", "no route to host"): (
        "the way out is closed; allow outgoing connections to connect.ngrok-agent.com, port 443"
    ),
}


def explain(error: str) -> str:
    """The agent's words, and what they mean when that is known."""
    lower = error.lower()
    for signs, meaning in _REASONS.items():
        if any(sign in lower for sign in signs):
            return f"{error} ({meaning})"
    return error
