from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import anyio
import pytest
import trio
import trio.testing

from prx_tunnel_core._health import Prober, ask_provider, judge
from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.models import Check, Verdict
from support.http_server import Handler, free_port, says, serve, status

# --- the verdict -------------------------------------------------------------------------------


def checks(**verdicts: Verdict) -> list[Check]:
    return [Check(name, verdict) for name, verdict in verdicts.items()]


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (checks(process="ok", provider="ok", local="ok", public="ok"), "healthy"),
        (checks(process="ok", provider="ok", local="ok", public="unknown"), "healthy"),
        (checks(process="ok", provider="unknown", local="ok", public="ok"), "healthy"),
        (checks(process="ok", provider="ok"), "healthy"),
        # Nobody outside has confirmed it.
        (checks(process="ok", provider="unknown", local="ok", public="unknown"), "degraded"),
        (checks(process="ok", local="ok"), "degraded"),
        ([], "degraded"),
        # Connecting anew may help.
        (checks(process="fail"), "unhealthy"),
        (checks(process="ok", provider="fail", local="ok", public="ok"), "unhealthy"),
        (checks(process="ok", provider="ok", local="ok", public="fail"), "unhealthy"),
        (checks(process="ok", provider="unknown", local="unknown", public="fail"), "unhealthy"),
        # Connecting anew cannot start the user's application.
        (checks(process="ok", provider="ok", local="fail", public="ok"), "degraded"),
        (checks(process="ok", provider="ok", local="fail", public="unknown"), "degraded"),
        (checks(process="ok", provider="unknown", local="fail", public="fail"), "degraded"),
        (checks(process="ok", provider="fail", local="fail", public="unknown"), "unhealthy"),
        (checks(process="fail", provider="unknown", local="fail"), "unhealthy"),
    ],
)
def test_the_verdict_on_the_whole(made: list[Check], verdict: str) -> None:
    assert judge(made) == verdict
    assert judge(list(reversed(made))) == verdict


@pytest.mark.anyio
@pytest.mark.parametrize(
    "server_side", [status("502 Bad Gateway"), says()], ids=["a-proxy-says-502", "it-hangs-up"]
)
async def test_f09_a_closed_local_port_is_degraded_whatever_the_public_side_says(
    server_side: Handler,
) -> None:
    prober = Prober()
    async with serve(server_side) as server:
        public, _ = await prober.public(server.url, connected_for=1000)
    local = await prober.local(Target("127.0.0.1", free_port()))
    await prober.aclose()
    made = [Check("process", "ok"), Check("provider", "unknown"), local, public]
    assert local.verdict == "fail"
    assert public.verdict != "ok"
    assert judge(made) == "degraded"


# --- the provider's word -----------------------------------------------------------------------


class Said(Connection):
    """A connection whose check gives, raises or does what it is told."""

    public_url = "https://agent.example.com"

    def __init__(self, said: object) -> None:
        self._said = said

    async def wait_closed(self) -> str:
        raise NotImplementedError

    async def check(self) -> Iterable[Check]:
        if isinstance(self._said, BaseException):
            raise self._said
        return self._said  # type: ignore[return-value]


class Silent(Connection):
    public_url = "https://agent.example.com"

    async def wait_closed(self) -> str:
        raise NotImplementedError


@pytest.mark.anyio
async def test_a_backend_without_a_word_of_its_provider() -> None:
    assert (await ask_provider(Silent(), timeout=5)).provider == Check(
        "provider", "unknown", "this backend does not report provider status"
    )


@pytest.mark.anyio
async def test_the_worst_word_counts_and_all_of_its_kind_are_told() -> None:
    ok = Check("edge", "ok", "4 connections")
    bare = Check("daemon", "ok")
    odd = Check("metrics", "unknown", "no answer")
    down = Check("region 1", "fail", "gone")
    also = Check("region 2", "fail", "gone too")
    for said, folded in [
        ((ok, bare), Check("provider", "ok", "edge: 4 connections; daemon")),
        ((ok, odd), Check("provider", "unknown", "metrics: no answer")),
        ((down, ok, odd, also), Check("provider", "fail", "region 1: gone; region 2: gone too")),
    ]:
        assert (await ask_provider(Said(said), timeout=5)).provider == folded


def raising() -> Iterator[Check]:
    yield Check("edge", "ok")
    raise LookupError("in the middle")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param(RuntimeError("boom\nand more"), "RuntimeError: boom and more", id="F14"),
        pytest.param(SystemExit(3), "SystemExit: 3", id="exits"),
        pytest.param(
            ExceptionGroup("two", [OSError("a"), OSError("b")]), "ExceptionGroup", id="grp"
        ),
        pytest.param(None, "TypeError", id="none"),
        pytest.param([True], "True is not a Check", id="not-checks"),
        pytest.param([Check("x", "green")], "is not a Check", id="no-verdict"),  # type: ignore[arg-type]
    ],
)
async def test_a_check_that_goes_wrong_is_unknown_and_logged(
    said: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    check = (await ask_provider(Said(said), timeout=5)).provider
    assert (check.name, check.verdict) == ("provider", "unknown")
    assert reason in check.detail
    assert reason in caplog.text


@pytest.mark.anyio
async def test_a_check_that_raises_half_way_through() -> None:
    check = (await ask_provider(Said(raising()), timeout=5)).provider
    assert check.verdict == "unknown"
    assert "in the middle" in check.detail


class NeverAnswers(Silent):
    async def check(self) -> Iterable[Check]:
        await anyio.sleep_forever()
        return ()


def test_a_check_without_end_is_given_up_at_its_deadline() -> None:
    async def main() -> None:
        began = trio.current_time()
        check = (await ask_provider(NeverAnswers(), timeout=5)).provider
        assert check.verdict == "unknown"
        assert "did not return within 5 s" in check.detail
        assert trio.current_time() - began == pytest.approx(5)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


class WaitsForACancelledFuture(Silent):
    async def check(self) -> Iterable[Check]:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future
        return ()


def test_a_cancellation_out_of_nowhere_does_not_end_the_caller() -> None:
    async def main() -> Check:
        return (await ask_provider(WaitsForACancelledFuture(), timeout=5)).provider

    assert asyncio.run(main()).verdict == "unknown"


@pytest.mark.anyio
async def test_what_a_backend_finds_wrong_on_our_side_stays_apart() -> None:
    local = Check("local", "fail", "the dashboard sends traffic to port 8080")
    word = await ask_provider(Said([Check("edge", "ok"), local]), timeout=5)
    assert word.provider.verdict == "ok"
    assert word.local == local
    assert judge([word.provider, local, Check("public", "ok")]) == "degraded"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "recovering"),
    [([], False), ([Check("edge", "unknown")], True), ([Check("edge", "fail")], False)],
)
async def test_only_a_backend_that_looked_may_ask_for_patience(
    said: list[Check], recovering: bool
) -> None:
    assert (await ask_provider(Said(said), timeout=5)).recovering == recovering
