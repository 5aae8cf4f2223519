"""The list of checks: a row is all that a new one needs."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from prx_tunnel_core import Check, Connection, Target, TunnelHealth
from prx_tunnel_core._health import checks
from prx_tunnel_core._health.checks import (
    CHECKS,
    Examined,
    HealthCheck,
    confirmed,
    examine,
    judge,
    not_connected,
    reasons,
)
from prx_tunnel_core.models import Verdict


class Up(Connection):
    public_url = "https://agent.example.com"

    def __init__(self, *said: Check) -> None:
        self._said = said

    async def wait_closed(self) -> str:
        raise NotImplementedError

    async def check(self) -> Iterable[Check]:
        return self._said


class Asked:
    """A prober that finds everything well, unless it is told otherwise."""

    def __init__(self, local: Check | None = None, public: Exception | None = None) -> None:
        self._local = local or Check("local", "ok", "accepts")
        self._public = public
        self.asked: list[object] = []

    async def local(self, target: Target) -> Check:
        self.asked.append(target)
        return self._local

    async def public(self, url: str, *, connected_for: float) -> tuple[Check, float | None]:
        self.asked.append((url, connected_for))
        if self._public is not None:
            raise self._public
        return Check("public", "ok", "HTTP 200"), 0.25

    async def aclose(self) -> None:
        raise NotImplementedError


TARGET = Target("127.0.0.1", 3000)


def subject(*said: Check, prober: Asked | None = None, url: str | None = Up.public_url) -> Examined:
    return Examined(
        connection=Up(*said),
        target=TARGET,
        public_url=url,
        connected_for=60.0,
        prober=prober or Asked(),
    )


@pytest.mark.anyio
async def test_all_are_made_and_shown_in_the_order_of_the_list() -> None:
    prober = Asked()
    one = subject(Check("edge", "ok", "4 connections"), prober=prober)
    health = await examine(one)
    assert [check.name for check in health.checks] == ["process", "provider", "local", "public"]
    assert [each.name for each in CHECKS] == ["process", "provider", "local", "public"]
    assert (health.verdict, health.latency, one.recovering) == ("healthy", 0.25, False)
    assert TARGET in prober.asked
    assert (Up.public_url, 60.0) in prober.asked


@pytest.mark.anyio
async def test_what_is_not_to_be_asked_is_not_shown() -> None:
    health = await examine(subject(Check("edge", "ok"), url=None))
    assert [check.name for check in health.checks] == ["process", "provider", "local"]
    assert (health.verdict, health.latency) == ("healthy", None)


@pytest.mark.anyio
async def test_one_that_raises_is_unknown_and_the_others_are_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    prober = Asked(public=LookupError("a defect"))
    health = await examine(subject(Check("edge", "ok"), prober=prober))
    public = health.check("public")
    assert public == Check("public", "unknown", "could not be checked: LookupError('a defect')")
    assert "the health check 'public' failed" in caplog.text
    assert health.verdict == "healthy"


@pytest.mark.anyio
async def test_what_the_backend_finds_wrong_here_is_part_of_the_local_check() -> None:
    said = Check("edge", "ok"), Check("local", "fail", "the route leads to port 8080")
    health = await examine(subject(*said))
    assert health.check("local") == Check("local", "fail", "the route leads to port 8080")
    assert health.verdict == "degraded"
    closed = Asked(local=Check("local", "fail", "nothing accepts"))
    health = await examine(subject(*said, prober=closed))
    detail = "nothing accepts; the route leads to port 8080"
    assert health.check("local") == Check("local", "fail", detail)


@pytest.mark.anyio
async def test_a_backend_that_cannot_say_yet_asks_for_patience() -> None:
    one = subject(Check("edge", "unknown", "coming back"))
    await examine(one)
    assert one.recovering


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("counts", "verdict", "whole"),
    [
        (True, "fail", "unhealthy"),
        (False, "fail", "degraded"),
        (True, "unknown", "healthy"),
        (True, "ok", "healthy"),
    ],
)
async def test_a_new_one_is_a_row(
    monkeypatch: pytest.MonkeyPatch, counts: bool, verdict: Verdict, whole: str
) -> None:
    async def look(examined: Examined) -> Check:
        return Check("example", verdict, f"of {examined.target.port}")

    row = HealthCheck(name="example", look=look, counts=counts)
    monkeypatch.setattr(checks, "CHECKS", (*CHECKS, row))
    health = await examine(subject(Check("edge", "ok")))
    assert health.checks[-1] == Check("example", verdict, "of 3000")
    assert health.verdict == whole
    assert reasons(health) == ("example: of 3000" if whole == "unhealthy" else "")


def made(**verdicts: Verdict) -> TunnelHealth:
    found = tuple(Check(name, verdict, f"it {verdict}s") for name, verdict in verdicts.items())
    return TunnelHealth(judge(found), found)


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (made(provider="ok"), True),
        (made(public="ok"), True),
        (made(public="ok", provider="fail"), True),
        (made(process="ok", local="ok"), False),
        (made(provider="unknown", public="fail"), False),
    ],
)
def test_only_what_asks_beyond_this_machine_confirms(health: TunnelHealth, expected: bool) -> None:
    assert confirmed(health) is expected


def test_the_reasons_are_of_what_counts() -> None:
    health = made(process="fail", provider="unknown", local="fail", public="fail")
    assert reasons(health) == "process: it fails; public: it fails"


def test_without_a_connection_there_is_one_finding() -> None:
    health = not_connected("reconnecting")
    assert health.verdict == "unhealthy"
    assert health.checks == (
        Check("process", "fail", "the tunnel is not connected (reconnecting)"),
    )
