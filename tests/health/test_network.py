from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from prx_tunnel_core._health import online
from prx_tunnel_core._health.network import explain


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
    monkeypatch.setattr("prx_tunnel_core._health.network._ELSEWHERE", ())
    files = (tmp_path / "route", tmp_path / "ipv6_route")
    files[0].write_text(V4_HEADER + v4)
    files[1].write_text(v6)
    assert online(route_files=[str(file) for file in files]) is expected
    files[1].unlink()  # a kernel without IPv6
    assert online(route_files=[str(file) for file in files]) is (expected and V4_DEFAULT in v4)


def test_without_such_files_the_kernel_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = ((socket.AF_INET, "127.0.0.1"),)
    monkeypatch.setattr("prx_tunnel_core._health.network._ELSEWHERE", everywhere)
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
    code = "from prx_tunnel_core._health import online; print(online())"
    assert in_a_network_of_its_own(code) == "False\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("url", ["https://192.0.2.1", "https://agent.example.com"])
def test_e04_offline_nothing_counts_against_the_tunnel(backend: str, url: str) -> None:
    code = f"""
import anyio
from prx_tunnel_core._health import Prober
async def main():
    check, latency = await Prober().public({url!r}, connected_for=10_000)
    print(check.verdict, latency)
anyio.run(main, backend={backend!r})
"""
    assert in_a_network_of_its_own(code) == "unknown None\n"
