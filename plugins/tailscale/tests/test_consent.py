"""Where the tailnet has not enabled Funnel or HTTPS yet, a person is sent to the right page."""

from __future__ import annotations

import pytest
from prx_tunnel_tailscale.connect import connect
from prx_tunnel_tailscale.consent import consent_link
from tailscale_standin import StandIn

from prx_tunnel_core import ConnectError, SetupError, Target

TARGET = Target("127.0.0.1", 3000)
LINK = "https://login.tailscale.com/f/funnel?node=nTESTCNTRL"


@pytest.mark.anyio
@pytest.mark.parametrize(("how", "background"), [("wait", True), ("exit", False)])
async def test_the_link_is_told_whether_the_program_waits_or_exits_with_0(
    how: str, background: bool, node: StandIn
) -> None:
    node.offer_consent(how)
    with pytest.raises(SetupError, match=f"an admin .* enables it at {LINK.replace('?', '.')}"):
        async with connect(node.config(background=background), TARGET):
            pass
    assert node.served == {}
    assert not any("--bg" in call for call in node.calls)


@pytest.mark.anyio
async def test_serve_has_a_link_of_its_own(node: StandIn) -> None:
    node.offer_consent("wait")
    with pytest.raises(SetupError, match=r"no HTTPS certificates; .*/f/serve\?node=nTESTCNTRL"):
        async with connect(node.config(mode="serve"), TARGET):
            pass


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("held", "says"),
    [
        ([], 'no HTTPS certificates.*turn on "HTTPS Certificates"'),
        (["funnel"], "no HTTPS certificates"),
        (["https"], 'Funnel is not enabled.*node attribute "funnel"'),
    ],
)
async def test_without_a_link_the_policy_is_named(
    held: list[str], says: str, node: StandIn
) -> None:
    node.allow(*held)
    with pytest.raises(SetupError, match=says):
        async with connect(node.config(), TARGET):
            pass


@pytest.mark.anyio
async def test_what_is_granted_at_this_moment_is_tried_again(node: StandIn) -> None:
    node.allow("https")
    node.fault(granted=True)
    with pytest.raises(ConnectError, match="enabled just now"):
        async with connect(node.config(), TARGET):
            pass
    assert node.served == {}


@pytest.mark.anyio
async def test_a_program_that_says_nothing_is_not_waited_for_for_ever(
    node: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_tailscale.consent.PATIENCE", 0.3)
    node.offer_consent("in silence")
    with pytest.raises(SetupError, match="no HTTPS certificates"):
        async with connect(node.config(), TARGET):
            pass


@pytest.mark.parametrize(
    "line",
    [
        "https://login.tailscale.com.evil.example/f/funnel?node=x",
        "https://evil.example/login.tailscale.com/f/funnel",
        "https://login.tailscale.com@evil.example/f/funnel",
        "http://login.tailscale.com/f/funnel?node=x",
        "See https://login.tailscale.com/f/funnel?node=x.",
        "Funnel not available; HTTPS must be enabled. See https://tailscale.com/s/https.",
        "https://login.tailscale.com/f/funnel?next=https://evil.example",
        "https://login.tailscale.com/f/funnel?node=x y",
        "https://login.tailscale.com\\@evil.example/",
        "https://logintailscale.com/f/funnel",
        "https://box.tail1234.ts.net/",
        "",
    ],
)
def test_no_other_line_is_a_link(line: str) -> None:
    assert consent_link(line) is None


def test_the_link_stands_on_a_line_of_its_own() -> None:
    assert consent_link(f"         {LINK}") == LINK
