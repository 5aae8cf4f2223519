"""Why cloudflared is not connected: the wordings of its log, each with an explanation and the fix.

A rule compares from the beginning of the message (see `logline`), so that nothing that a visitor or
a name server chose can imitate one. The wordings are those of release 2026.8.2, and of the older
ones that the program's issue tracker quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from prx_tunnel_cloudflare.logline import LogLine
from prx_tunnel_core.errors import ConnectError, SetupError, TunnelError


class Cause(StrEnum):
    USAGE = "usage"
    TOKEN = "token"
    RATE_LIMIT = "rate limit"
    API_ANSWER = "api answer"
    API_DNS = "api dns"
    API_UNREACHABLE = "api unreachable"
    METRICS_PORT = "metrics port"
    DNS = "dns"
    TLS = "tls"
    BLOCKED = "blocked"
    UDP_BLOCKED = "udp blocked"
    TCP_BLOCKED = "tcp blocked"
    EDGE_UNREACHABLE = "edge unreachable"
    UNAUTHORIZED = "unauthorized"
    REFUSED = "refused"
    REFUSED_SILENTLY = "refused silently"
    LOST = "lost"


REFUSALS = frozenset({Cause.UNAUTHORIZED, Cause.REFUSED, Cause.REFUSED_SILENTLY})


@dataclass(frozen=True, slots=True)
class Reason:
    cause: Cause
    message: str
    """For the user: what is wrong, and the fix."""
    weight: int = 1
    """A later reason replaces an earlier one of no more weight."""
    permanent: bool = False
    """Trying again cannot help."""
    retry_after: float = 0.0
    """Seconds before another attempt."""

    def to_error(self) -> TunnelError:
        if self.permanent:
            return SetupError(self.message)
        return ConnectError(self.message, retry_after=self.retry_after)


@dataclass(frozen=True, slots=True)
class _Rule:
    reason: Reason
    """Its message may hold `{detail}`, the log's own words, and `{status}`."""
    message: str
    """Matched from the beginning of the log's message."""
    error: str = ""
    """Searched in the log's field `error`."""
    having: tuple[str, str] | None = None
    """Another field, and the beginning of its value."""
    plain: bool = False
    """Only a line without a level, as the log itself writes none."""

    def matches(self, line: LogLine) -> bool:
        if self.plain and line.level:
            return False
        if self.having is not None:
            name, value = self.having
            if not line.fields.get(name, "").startswith(value):
                return False
        return bool(re.match(self.message, line.message) and re.search(self.error, line.error))


def classify(line: LogLine) -> Reason | None:
    """The reason that the line gives, if any."""
    if not _ANY.match(line.message):
        return None
    rule = next((rule for rule in _RULES if rule.matches(line)), None)
    if rule is None:
        return None
    # Text of a foreign program: only these two are put in, and what they hold is not read again.
    parts = {"{detail}": line.error or line.message, "{status}": line.fields.get("status_code", "")}
    message = re.sub(r"\{detail\}|\{status\}", lambda m: parts[m[0]][:500], rule.reason.message)
    return replace(rule.reason, message=message)


_DIAL = "Failed to dial a quic connection|Unable to establish connection with Cloudflare edge"
_SERVE = "Serve tunnel error|failed to serve tunnel connection"
_REGISTER = "Register tunnel error from server side|initial tunnel connection failed"
_API_ANSWER = "Error unmarshaling QuickTunnel response: "
_API_REQUEST = "failed to request quick Tunnel: "
_EDGE = "region1.v2.argotunnel.com and region2.v2.argotunnel.com"
_MINUTE = 60.0

_LIMITED = Reason(
    Cause.RATE_LIMIT,
    "Cloudflare limits how many quick tunnels one address may make (429, error code 1015); wait "
    "some minutes, or use a tunnel with a token",
    weight=5,
    retry_after=5 * _MINUTE,
)
_UNTRUSTED = Reason(
    Cause.TLS,
    "Cloudflare's certificate is not trusted: something on the way inspects TLS; exempt "
    f"api.trycloudflare.com, {_EDGE} from it ({{detail}})",
    weight=4,
)
_NO_NAMES = Reason(
    Cause.DNS,
    "Cloudflare's edge (argotunnel.com) cannot be looked up; check this machine's network and name "
    "server, or use another, such as 1.1.1.1 ({detail})",
    weight=4,
)

# The first rule that matches counts.
_RULES = (
    _Rule(
        Reason(
            Cause.USAGE,
            "cloudflared does not understand its arguments ({detail}); correct "
            "tunnel.cloudflare.extra_args, or update cloudflared (2022.12.0 or newer is needed)",
            weight=9,
            permanent=True,
        ),
        "Incorrect Usage[:.] ",
        plain=True,
    ),
    _Rule(
        Reason(
            Cause.TOKEN,
            "cloudflared does not accept the token; copy the whole token from the tunnel's page",
            weight=9,
            permanent=True,
        ),
        "Provided Tunnel token is not valid",
        plain=True,
    ),
    _Rule(_LIMITED, _API_ANSWER, having=("status_code", "429")),
    _Rule(_LIMITED, _API_ANSWER + "error code: 1015"),
    _Rule(
        Reason(
            Cause.API_ANSWER,
            "api.trycloudflare.com answered {status} instead of making a quick tunnel; try again "
            "later, or use a tunnel with a token",
            weight=5,
            retry_after=_MINUTE,
        ),
        _API_ANSWER,
    ),
    # Before release 2024.9.0 only this line came; the 'e' begins "error code: 1015".
    _Rule(_LIMITED, "failed to unmarshal quick Tunnel: invalid character 'e'", plain=True),
    _Rule(
        Reason(
            Cause.API_ANSWER,
            "Cloudflare did not make a quick tunnel, and cloudflared does not say why; try again "
            "later, or use a tunnel with a token",
            weight=4,
            retry_after=_MINUTE,
        ),
        "failed to (unmarshal quick Tunnel|parse quick Tunnel ID): ",
        plain=True,
    ),
    _Rule(
        Reason(
            Cause.API_DNS,
            "the name api.trycloudflare.com cannot be resolved; check this machine's network and "
            "name server ({detail})",
            weight=4,
        ),
        _API_REQUEST + r"Post \"[^\"]*\": dial tcp: lookup ",
        plain=True,
    ),
    _Rule(_UNTRUSTED, _API_REQUEST + r".*\b(x509|certificate)\b", plain=True),
    _Rule(
        Reason(
            Cause.API_UNREACHABLE,
            "api.trycloudflare.com cannot be reached; allow outgoing connections to its port 443 "
            "({detail})",
            weight=4,
        ),
        _API_REQUEST,
        plain=True,
    ),
    _Rule(
        Reason(
            Cause.METRICS_PORT,
            "cloudflared cannot open its metrics server; free tunnel.cloudflare.metrics_port, or "
            "leave it out ({detail})",
            weight=7,
        ),
        "Error opening metrics server listener",
    ),
    _Rule(_NO_NAMES, "Could not lookup srv records"),
    # With fixed addresses it goes on after that, so what follows tells more.
    _Rule(replace(_NO_NAMES, weight=2), "edge discovery: error looking up Cloudflare edge IPs"),
    _Rule(_UNTRUSTED, f"{_DIAL}|{_SERVE}", r"\b(x509|CRYPTO_ERROR|certificate)\b"),
    _Rule(
        Reason(
            Cause.UDP_BLOCKED,
            "no answer from Cloudflare over QUIC: outgoing UDP to port 7844 is probably blocked; "
            'allow it, or set tunnel.cloudflare.protocol = "http2"',
            weight=2,
        ),
        "Failed to dial a quic connection",
        "no recent network activity",
    ),
    _Rule(
        Reason(
            Cause.TCP_BLOCKED,
            "no answer from Cloudflare over TCP: outgoing connections to port 7844 are probably "
            f"blocked; allow them to {_EDGE}",
            weight=2,
        ),
        _DIAL,
        "i/o timeout",
    ),
    _Rule(
        Reason(Cause.EDGE_UNREACHABLE, "Cloudflare's edge cannot be reached: {detail}", weight=2),
        _DIAL,
    ),
    _Rule(
        Reason(
            Cause.BLOCKED,
            "cloudflared's own checks say that this network blocks the way to Cloudflare; allow "
            f"outgoing UDP and TCP to port 7844 of {_EDGE}",
            weight=3,
        ),
        "precheck complete",
        having=("hard_fail", "true"),
    ),
    _Rule(
        Reason(
            Cause.UNAUTHORIZED,
            "Cloudflare does not accept the tunnel's credentials ({detail}); the tunnel was "
            "deleted or its token replaced: copy the token again from the tunnel's page",
            weight=6,
        ),
        _REGISTER,
        r"^Unauthorized\b",
    ),
    _Rule(
        Reason(Cause.REFUSED, "Cloudflare refuses to register the tunnel: {detail}", weight=5),
        _REGISTER,
    ),
    _Rule(
        Reason(
            Cause.REFUSED_SILENTLY,
            "Cloudflare refuses to register the tunnel, or does not answer; over QUIC, cloudflared "
            "does not say why",
            weight=3,
        ),
        _SERVE,
        "^control stream encountered a failure while serving$",
    ),
    _Rule(
        Reason(Cause.LOST, "the connection to Cloudflare's edge was lost ({detail})"),
        f"Lost connection with the edge|failed to accept incoming stream requests|{_SERVE}",
    ),
)

_ANY = re.compile("|".join(rule.message for rule in _RULES))
