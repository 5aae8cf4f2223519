"""The verdict on a tunnel's health, and the check that asks its provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from prx_tunnel_core._isolation import LONGEST_REASON, ForeignError, contain, describe
from prx_tunnel_core.backend import Backend, Connection
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Check, HealthVerdict, Verdict
from prx_tunnel_core.text import one_line

logger = get_logger(__name__)

_WORST_FIRST: tuple[Verdict, ...] = ("fail", "unknown", "ok")


def judge(checks: Sequence[Check]) -> HealthVerdict:
    """The verdict on the whole; a check that was not made counts as `unknown`.

    `unhealthy` means that connecting anew may help, so a closed local port is `degraded`, and with
    it a public URL that fails: many servers just close the connection when nothing accepts it.
    """
    verdicts: dict[str, Verdict] = {check.name: check.verdict for check in checks}
    if "fail" in (verdicts.get("process"), verdicts.get("provider")):
        return "unhealthy"
    if verdicts.get("local") == "fail":
        return "degraded"
    if verdicts.get("public") == "fail":
        return "unhealthy"
    verified = "ok" in (verdicts.get("provider"), verdicts.get("public"))
    return "healthy" if verified else "degraded"


class ProviderReport(NamedTuple):
    """What a backend says of its tunnel."""

    provider: Check
    local: Check | None = None
    """What it found wrong on our own side: that degrades a tunnel, and never ends it."""
    recovering: bool = False
    """Whether it asks for patience: it has looked, and cannot say yet."""


async def ask_provider(connection: Connection, *, timeout: float) -> ProviderReport:
    """The backend's own checks, folded into one named `provider`; never raises.

    One named `local` stays apart. A backend that raises, or takes more than `timeout` seconds,
    says nothing about the tunnel.
    """
    if not has_word(connection):
        return _word_of([])

    async def ask() -> list[Check]:
        return [require_check(said) for said in await connection.check()]

    try:
        said = await contain(ask, deadline=timeout)
    except ForeignError as error:
        logger.warning("the check of %s failed: %s", type(connection).__name__, error)
        return ProviderReport(
            Check("provider", "unknown", f"the backend's own check failed: {error}")
        )
    return _word_of(said)


def has_word(connection: Connection) -> bool:
    """Whether the backend looks at its tunnel itself; if not, nothing need be waited for."""
    return type(connection).check is not Connection.check


def _word_of(said: Sequence[Check]) -> ProviderReport:
    provider = _fold([check for check in said if check.name != "local"])
    local = next((check for check in said if check.name == "local"), None)
    return ProviderReport(provider, local, bool(said) and provider.verdict == "unknown")


def require_check(returned: object) -> Check:
    """What a plugin returned as a `Check`, with a name and detail that are text.

    Raises TypeError for anything else, and for a verdict that does not exist.
    """
    if isinstance(returned, Check) and returned.verdict in get_args(Verdict):
        return Check(str(returned.name), returned.verdict, str(returned.detail))
    raise TypeError(f"{returned!r} is not a Check with the verdict ok, fail or unknown")


def judge_response(
    backend: Backend[Any] | None, status: int, headers: Mapping[str, str]
) -> tuple[Verdict, str]:
    """The verdict on an answer of the public URL, and the reason; `headers` by lower-case name.

    The backend decides first: it knows the pages that its provider answers itself. A backend whose
    `classify_response` raises says nothing about the tunnel.
    """
    if backend is not None and backend.classify_response is not None:
        try:
            returned = backend.classify_response(status, headers)
            check = None if returned is None else require_check(returned)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code raises anything
            reason = f"classify_response of backend {backend.name!r} failed: {describe(error)}"
            logger.warning("%s", reason)
            return "unknown", reason
        if check is not None:
            return check.verdict, one_line(check.detail)[:LONGEST_REASON]
    if status in (502, 503, 504):
        return "unknown", f"HTTP {status}: the tunnel answered, perhaps not your application"
    if status in (407, 511):  # Proxy Authentication Required, Network Authentication Required
        return "unknown", f"HTTP {status}: this machine's network requires a login first"
    return "ok", f"HTTP {status}"


def _fold(checks: Sequence[Check]) -> Check:
    if not checks:
        return Check("provider", "unknown", "this backend has no word of its provider")
    worst = next(verdict for verdict in _WORST_FIRST if verdict in {c.verdict for c in checks})
    told = (f"{c.name}: {c.detail}".removesuffix(": ") for c in checks if c.verdict == worst)
    return Check("provider", worst, "; ".join(told))
