"""The health checks of a tunnel: which there are, what each looks at, and the verdict of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, get_args

import anyio

from prx_tunnel_core._isolation import ForeignError, contain
from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import Check, HealthVerdict, TunnelHealth, Verdict
from prx_tunnel_core.process._process import ProcessConnection

logger = get_logger(__name__)

PROVIDER_TIMEOUT = 10.0  # seconds for the backend's own `check`

_WORST_FIRST: tuple[Verdict, ...] = ("fail", "unknown", "ok")


class Probes(Protocol):
    """What asks from outside: `Prober`, or a test's own."""

    async def local(self, target: Target) -> Check: ...
    async def public(self, url: str, *, connected_for: float) -> tuple[Check, float | None]: ...
    async def aclose(self) -> None: ...


@dataclass(kw_only=True)
class Examined:
    """One connection, and what the checks learn about it beside their verdicts."""

    connection: Connection
    target: Target
    public_url: str | None
    """None where the public URL is not to be asked."""
    connected_for: float
    """Seconds since it came up."""
    prober: Probes
    latency: float | None = None
    recovering: bool = False
    """Whether the backend asks for patience: it has looked, and cannot say yet."""
    wrong_here: list[Check] = field(default_factory=list)
    """What the backend found wrong on this machine; it becomes part of the check `local`."""


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """One thing that is looked at, and what its result means for the whole."""

    name: str
    look: Callable[[Examined], Awaitable[Check | None]]
    """None where there is nothing to look at. It may raise: that is `unknown`."""
    counts: bool = True
    """Whether a failure makes the tunnel unhealthy, because connecting anew may help."""
    confirms: bool = False
    """Whether `ok` shows that the tunnel works beyond this machine."""
    needs_app: bool = False
    """Whether a failure counts only while nothing on this machine has failed."""


def judge(checks: Iterable[Check]) -> HealthVerdict:
    """The verdict on the whole; a check that was not made counts as `unknown`.

    `unhealthy` means that connecting anew may help, so a closed local port is `degraded`, and with
    it a public URL that fails: many servers just close the connection when nothing accepts it.
    """
    made = {check.name: check.verdict for check in checks}
    failed = [each for each in CHECKS if made.get(each.name) == "fail"]
    ours = any(not each.counts for each in failed)
    if any(each.counts and not (each.needs_app and ours) for each in failed):
        return "unhealthy"
    confirmed = any(each.confirms and made.get(each.name) == "ok" for each in CHECKS)
    return "healthy" if confirmed and not ours else "degraded"


def confirmed(health: TunnelHealth) -> bool:
    """Whether a check has shown that the tunnel works beyond this machine."""
    names = {each.name for each in CHECKS if each.confirms}
    return any(check.verdict == "ok" for check in health.checks if check.name in names)


def reasons(health: TunnelHealth) -> str:
    """Why the tunnel is unhealthy, on one line."""
    names = {each.name for each in CHECKS if each.counts}
    return "; ".join(
        f"{check.name}: {check.detail}"
        for check in health.checks
        if check.verdict == "fail" and check.name in names
    )


def not_connected(state: str) -> TunnelHealth:
    """The health of a tunnel without a connection, which is in that state."""
    return TunnelHealth(
        "unhealthy", (Check("process", "fail", f"the tunnel is not connected ({state})"),)
    )


async def examine(subject: Examined) -> TunnelHealth:
    """Make all checks at the same time; none of them raises."""
    found: dict[str, Check] = {}

    async def make(each: HealthCheck) -> None:
        try:
            check = await each.look(subject)
        except Exception as error:
            logger.exception("the health check %r failed", each.name)
            check = Check(each.name, "unknown", f"could not be checked: {error!r}")
        if check is not None:
            found[each.name] = check

    async with anyio.create_task_group() as tasks:
        for each in CHECKS:
            tasks.start_soon(make, each)
    if subject.wrong_here:
        ours = [c for c in (found["local"], *subject.wrong_here) if c.verdict == "fail"]
        found["local"] = Check("local", "fail", "; ".join(check.detail for check in ours))
    checks = tuple(found[each.name] for each in CHECKS if each.name in found)
    return TunnelHealth(judge(checks), checks, subject.latency)


async def _look_at_process(subject: Examined) -> Check:
    connection = subject.connection
    if isinstance(connection, ProcessConnection) and connection.has_ended():
        return Check("process", "fail", "the program has ended, and the event loop missed it")
    return Check("process", "ok", "the connection is open")


async def _look_at_provider(subject: Examined) -> Check:
    report = await ask_provider(subject.connection, timeout=PROVIDER_TIMEOUT)
    subject.recovering = report.recovering
    if report.local is not None and report.local.verdict == "fail":
        subject.wrong_here.append(report.local)
    return report.provider


async def _look_at_local_port(subject: Examined) -> Check:
    return await subject.prober.local(subject.target)


async def _look_at_public_url(subject: Examined) -> Check | None:
    if subject.public_url is None:
        return None
    check, subject.latency = await subject.prober.public(
        subject.public_url, connected_for=subject.connected_for
    )
    return check


CHECKS = (
    HealthCheck(name="process", look=_look_at_process),
    HealthCheck(name="provider", look=_look_at_provider, confirms=True),
    HealthCheck(name="local", look=_look_at_local_port, counts=False),
    HealthCheck(name="public", look=_look_at_public_url, confirms=True, needs_app=True),
)
"""All that is looked at, in the order in which it is shown. To add a check, add a row."""


class ProviderReport(NamedTuple):
    """What the backend's `check()` returned, folded."""

    provider: Check
    local: Check | None = None
    """Its check of this machine's side, which degrades a tunnel and never ends it."""
    recovering: bool = False
    """Whether it asks for patience: it has looked, and cannot say yet."""


async def ask_provider(connection: Connection, *, timeout: float) -> ProviderReport:
    """The backend's own checks, folded into one named `provider`; never raises.

    One named `local` stays apart. A backend that raises, or takes more than `timeout` seconds,
    says nothing about the tunnel.
    """
    if not reports_health(connection):
        return _report([])

    async def ask() -> list[Check]:
        return [require_check(each) for each in await connection.check()]

    try:
        reported = await contain(ask, deadline=timeout)
    except ForeignError as error:
        logger.warning("the check of %s failed: %s", type(connection).__name__, error)
        return ProviderReport(
            Check("provider", "unknown", f"the backend's own check failed: {error}")
        )
    return _report(reported)


def reports_health(connection: Connection) -> bool:
    """Whether the backend has a `check` of its own; without one there is nothing to wait for."""
    return type(connection).check is not Connection.check


def _report(reported: Sequence[Check]) -> ProviderReport:
    provider = _fold([check for check in reported if check.name != "local"])
    local = next((check for check in reported if check.name == "local"), None)
    return ProviderReport(provider, local, bool(reported) and provider.verdict == "unknown")


def require_check(returned: object) -> Check:
    """What a plugin returned as a `Check`, with a name and detail that are text.

    Raises TypeError for anything else, and for a verdict that does not exist.
    """
    if isinstance(returned, Check) and returned.verdict in get_args(Verdict):
        return Check(str(returned.name), returned.verdict, str(returned.detail))
    raise TypeError(f"{returned!r} is not a Check with the verdict ok, fail or unknown")


def _fold(checks: Sequence[Check]) -> Check:
    if not checks:
        return Check("provider", "unknown", "this backend does not report provider status")
    worst = next(verdict for verdict in _WORST_FIRST if verdict in {c.verdict for c in checks})
    told = (f"{c.name}: {c.detail}".removesuffix(": ") for c in checks if c.verdict == worst)
    return Check("provider", worst, "; ".join(told))
