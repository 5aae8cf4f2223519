from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import anyio
import pytest
import trio
import trio.testing

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.health import Prober, judge, online, provider_check
from prx_tunnel_core.health.network import explain
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
    assert await provider_check(Silent(), timeout=5) == Check(
        "provider", "unknown", "this backend has no word of its provider"
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
        assert await provider_check(Said(said), timeout=5) == folded


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
        pytest.param([True], "True is no Check", id="not-checks"),
        pytest.param([Check("x", "green")], "is no Check", id="no-verdict"),  # type: ignore[arg-type]
    ],
)
async def test_a_check_that_goes_wrong_is_unknown_and_logged(
    said: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    check = await provider_check(Said(said), timeout=5)
    assert (check.name, check.verdict) == ("provider", "unknown")
    assert reason in check.detail
    assert reason in caplog.text


@pytest.mark.anyio
async def test_a_check_that_raises_half_way_through() -> None:
    check = await provider_check(Said(raising()), timeout=5)
    assert check.verdict == "unknown"
    assert "in the middle" in check.detail


class NeverAnswers(Silent):
    async def check(self) -> Iterable[Check]:
        await anyio.sleep_forever()
        return ()


def test_a_check_without_end_is_given_up_at_its_deadline() -> None:
    async def main() -> None:
        began = trio.current_time()
        check = await provider_check(NeverAnswers(), timeout=5)
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
        return await provider_check(WaitsForACancelledFuture(), timeout=5)

    assert asyncio.run(main()).verdict == "unknown"


# --- is it us? ---------------------------------------------------------------------------------


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ((errno.ENETUNREACH,), "unknown"),
        ((errno.EHOSTUNREACH, errno.ENETUNREACH), "unknown"),
        ((errno.EMFILE,), "unknown"),
        ((errno.ECONNREFUSED,), "fail"),
        ((errno.ECONNRESET,), "fail"),
        # E09: no IPv6 here, but IPv4 was refused.
        ((errno.ENETUNREACH, errno.ECONNREFUSED), "fail"),
    ],
)
def test_only_what_the_other_side_did_counts_against_it(
    numbers: tuple[int, ...], verdict: str
) -> None:
    attempts = ExceptionGroup("attempts", [os_error(number) for number in numbers])
    error = OSError("All connection attempts failed")
    error.__cause__ = attempts
    assert explain(error) == (verdict, ", ".join(os.strerror(n) for n in sorted(numbers)))


def test_an_error_that_is_not_the_networks_is_unknown() -> None:
    assert explain(RuntimeError("a defect")) == (
        "unknown",
        "the probe itself failed: RuntimeError: a defect",
    )


def test_a_new_name_may_be_missing() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert explain(error, name_is_new=True)[0] == "unknown"
    assert explain(error, name_is_new=False)[0] == "fail"


V4_HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
V4_DEFAULT = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
V4_DEFAULT_REJECTED = "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n"
V4_HALF = "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n"
V4_NEIGHBOURS = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
ZERO = "0" * 32
V6_DEFAULT = f"{ZERO} 00 {ZERO} 00 fd{'0' * 29}1 00000400 00000002 00000000 00000003     eth0\n"
V6_REJECTED = f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo\n"


@pytest.mark.parametrize(
    ("v4", "v6", "expected"),
    [
        (V4_DEFAULT + V4_NEIGHBOURS, V6_REJECTED, True),
        (V4_NEIGHBOURS, V6_REJECTED + V6_DEFAULT, True),
        (V4_NEIGHBOURS, V6_REJECTED, False),
        (V4_DEFAULT_REJECTED, "", False),
        (V4_HALF, "", False),
        ("", "", False),
        ("\n\t\nnonsense\n", "nonsense", False),
    ],
)
def test_a_default_route_in_the_files_of_linux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, v4: str, v6: str, expected: bool
) -> None:
    monkeypatch.setattr("prx_tunnel_core.health.network._ELSEWHERE", ())
    files = (tmp_path / "route", tmp_path / "ipv6_route")
    files[0].write_text(V4_HEADER + v4)
    files[1].write_text(v6)
    assert online(route_files=[str(file) for file in files]) is expected
    files[1].unlink()  # a kernel without IPv6
    assert online(route_files=[str(file) for file in files]) is (expected and V4_DEFAULT in v4)


def test_without_such_files_the_kernel_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = ((socket.AF_INET, "127.0.0.1"),)
    monkeypatch.setattr("prx_tunnel_core.health.network._ELSEWHERE", everywhere)
    assert online(route_files=["/nonexistent"])


def test_what_cannot_be_told_counts_as_online(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> socket.socket:
        raise os_error(errno.EMFILE)

    monkeypatch.setattr(socket, "socket", exhausted)
    assert online(route_files=["/nonexistent"])


def in_a_network_of_its_own(code: str) -> str:
    """Run the code where there is no network but a loopback that is down."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Urn", "true"], check=False).returncode:
        pytest.skip("needs Linux and unprivileged user namespaces")
    command = [unshare, "-Urn", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_e04_without_any_network_this_machine_is_offline() -> None:
    code = "from prx_tunnel_core.health import online; print(online())"
    assert in_a_network_of_its_own(code) == "False\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("url", ["https://192.0.2.1", "https://agent.example.com"])
def test_e04_offline_nothing_counts_against_the_tunnel(backend: str, url: str) -> None:
    code = f"""
import anyio
from prx_tunnel_core.health import Prober
async def main():
    check, latency = await Prober().public({url!r}, connected_for=10_000)
    print(check.verdict, latency)
anyio.run(main, backend={backend!r})
"""
    assert in_a_network_of_its_own(code) == "unknown None\n"
