"""Why there is no connection: ngrok's error codes and the network's errors, each with the fix.

Source of the codes: https://ngrok.com/docs/errors. A code that is not in the table is retried with
back-off, and shown in ngrok's own words: guessing that it is permanent would end a tunnel that
could recover.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

_CODE = re.compile(r"ERR_NGROK_(\d{1,6})\b")


class Treatment(Enum):
    PERMANENT = "the user has to fix something"
    LIMITED = "worth a few tries: our own last agent may still count"
    TRANSIENT = "ngrok says: try later"


@dataclass(frozen=True, slots=True)
class Rule:
    codes: Iterable[int]
    treatment: Treatment
    fix: str


_P, _L, _T = Treatment.PERMANENT, Treatment.LIMITED, Treatment.TRANSIENT
_TOKEN = "set tunnel.ngrok.authtoken to the one of https://dashboard.ngrok.com/get-started/your-authtoken"
_ACCOUNT = "see your account at https://dashboard.ngrok.com"
_DOMAIN = "tunnel.ngrok.domain must be one of https://dashboard.ngrok.com/domains"
_OTHERS = "stop the other agent, see https://dashboard.ngrok.com/agents"

# The first row that names a code decides.
RULES = (
    Rule((105, 106, 107, 300, 4018), _P, _TOKEN),
    Rule((123, 382), _P, "verify your e-mail address: https://dashboard.ngrok.com/user/settings"),
    Rule((120, 121), _P, "install a current ngrok agent: https://ngrok.com/download"),
    Rule((102, 103, 337, 338), _P, f"ngrok has suspended the account; {_ACCOUNT}"),
    Rule((115, 116, 118, 122, 127, 9040), _P, "the account's IP or agent policy refuses this host"),
    Rule((8013, 8014), _P, _ACCOUNT),
    Rule((128, 380, 722, 6000, *range(8000, 8010)), _T, ""),
    Rule((108,), _L, f"the account's number of agents is used up; {_OTHERS}"),
    Rule((334,), _L, f"{_OTHERS}, or set tunnel.ngrok.pooling = true to share the domain"),
    Rule((324, *range(348, 352)), _L, f"the account's number of endpoints is used up; {_OTHERS}"),
    Rule((6025,), _L, _ACCOUNT),
    Rule((313, 314, 315), _P, f"the account's plan does not include this; {_ACCOUNT}"),
    Rule((303, 312), _P, f"the account's plan does not include TLS endpoints; {_ACCOUNT}"),
    Rule((*range(307, 323), 354), _P, _DOMAIN),
    Rule((*range(326, 332), 347, 355, 396, 397), _P, _DOMAIN),
    Rule((332, *range(359, 394)), _P, "change the key of [tunnel.ngrok] that ngrok refuses"),
    Rule(range(725, 734), _P, f"the plan's monthly quota is used up; {_ACCOUNT}"),
)

_BY_CODE: dict[int, Rule] = {}
for _rule in RULES:
    for _number in _rule.codes:
        _BY_CODE.setdefault(_number, _rule)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal by ngrok's service: its code and text, and what to do."""

    code: int
    text: str
    treatment: Treatment
    fix: str

    def __str__(self) -> str:
        return "; ".join(filter(None, (f"{self.text} (ERR_NGROK_{self.code})", self.fix)))


def refusal_in(text: str) -> Refusal | None:
    """The refusal in an error text; None for a text without a code."""
    found = _CODE.search(text)
    if found is None:
        return None
    code = int(found[1])
    rule = _BY_CODE.get(code, Rule((), Treatment.TRANSIENT, ""))
    return Refusal(code, words(text), rule.treatment, rule.fix)


_NOISE = re.compile(r"^ERR_NGROK_\d+$|^https://ngrok\.com/docs/errors/\S+$", re.IGNORECASE)
_PREFIX = re.compile(r"^(?:authentication failed|failed to start tunnel): ")
_ECHOED_TOKEN = re.compile(r"(your authtoken: *)\S+", re.IGNORECASE)


def words(text: str) -> str:
    """An error text of several lines as one, without its code, link, and the token it echoes."""
    # The agent repeats the token in its errors. One that came from us is masked already; one from
    # ngrok's own configuration file would not be.
    lines = (line.removeprefix("ERROR:").strip() for line in text.splitlines())
    joined = " ".join(line for line in lines if line and not _NOISE.match(line))
    return _ECHOED_TOKEN.sub(r"\1**********", _PREFIX.sub("", joined)).rstrip(".")


# In this order: a text may hold several, and the first is the more telling.
_REASONS: dict[tuple[str, ...], str] = {
    ("fetch crl",): (
        "something on the network answers plain HTTP in ngrok's place, so the agent cannot fetch "
        "its certificate revocation list; use another network, or allow connections to ngrok"
    ),
    ("x509", "certificate", "tls:"): (
        "something on the network intercepts TLS connections; exempt connect.ngrok-agent.com, or "
        "set agent.connect_cas: host in ngrok's own configuration file"
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
    """The agent's error, with an explanation when one is known."""
    lower = error.lower()
    for signs, meaning in _REASONS.items():
        if any(sign in lower for sign in signs):
            return f"{error} ({meaning})"
    return error
