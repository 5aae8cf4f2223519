"""The documentation names every key and every problem."""

from __future__ import annotations

from pathlib import Path

import pytest
from prx_tunnel_tailscale import connection, reasons
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.reasons import Problem

DOCUMENT = Path(__file__).parents[3] / "docs" / "backends" / "tailscale.md"
# Tried again by itself, within seconds: there is nothing that a person could do.
PASSING = {"daemon-lost", "starting", "enabled-now", "edit-race", "no-netmap"}
KNOWN = [each for each in vars(reasons).values() if isinstance(each, Problem)]


@pytest.mark.parametrize("key", TailscaleConfig.model_fields)
def test_each_key_is_documented(key: str) -> None:
    assert f"| `{key}` |" in DOCUMENT.read_text()


@pytest.mark.parametrize(
    "problem", [each for each in KNOWN if each.name not in PASSING], ids=lambda each: each.name
)
def test_each_problem_is_documented(problem: Problem) -> None:
    beginning = " ".join(problem.what.split()[:5])
    assert beginning in DOCUMENT.read_text()


@pytest.mark.parametrize(
    "part",
    [
        connection.DAEMON,
        connection.CONTROL,
        connection.PERMISSION,
        connection.ROUTE,
        connection.NETWORK,
        connection.KEY,
    ],
)
def test_each_part_of_a_health_check_is_documented(part: str) -> None:
    assert f"| `{part}` |" in DOCUMENT.read_text()


def test_each_problem_tells_what_is_wrong_and_what_to_do() -> None:
    assert len({each.name for each in KNOWN}) == len(KNOWN) > 20
    for each in KNOWN:
        assert str(each.error("a detail")) == f"{each.what} (a detail); {each.fix}"
        assert str(each.error()) == f"{each.what}; {each.fix}"
