"""Whose is what stands on a port?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.connect import connect
from prx_tunnel_tailscale.preflight import check_free
from prx_tunnel_tailscale.route import route_for
from prx_tunnel_tailscale.serveconfig import parse_serve_config
from tailscale_standin import HOST, StandIn, web

from prx_tunnel_core import SetupError, Target

TARGET = Target("127.0.0.1", 3000)


@pytest.mark.parametrize(
    "theirs",
    [
        web("/private", funnel=False),
        web("/", target="http://127.0.0.1:9999"),
        web("/", "/private"),
        {"TCP": {"443": {"TCPForward": "127.0.0.1:5000"}}},
        {"TCP": {"443": {"HTTPS": True}}},
        {"TCP": {"443": None}, "Web": {"old-name.tail1234.ts.net:443": {"Handlers": {"/": None}}}},
        {"Foreground": {"69a6d162770d8063": web("/")}},
        web("/", target="text:hello"),
    ],
    ids=["mount", "target", "mounts", "tcp", "bare", "renamed", "session", "text"],
)
def test_a_port_of_somebody_else_is_refused(theirs: dict[str, Any]) -> None:
    route = route_for(TailscaleConfig(background=True), TARGET, HOST)
    with pytest.raises(SetupError, match=r"already serves something else .*\(443: .*funnel_port"):
        check_free(parse_serve_config(json.dumps(theirs)), route, background=True)


@pytest.mark.anyio
async def test_what_is_refused_is_left_untouched(node: StandIn) -> None:
    theirs = web("/", "/private")
    node.serve(theirs)
    with pytest.raises(SetupError, match="/private"):
        async with connect(node.config(background=True), TARGET):
            pass
    assert node.served == theirs
    assert node.changes() == []


@pytest.mark.parametrize(
    "theirs",
    [
        {},
        web("/", port=8443, target="http://127.0.0.1:9000"),
        {"AllowFunnel": {f"{HOST}:443": True}},
        {"Foreground": {"69a6d162770d8063": web("/", port=8443)}},
    ],
    ids=["nothing", "port", "stale", "session"],
)
@pytest.mark.parametrize("background", [False, True])
def test_a_port_that_nobody_uses_is_free(theirs: dict[str, Any], background: bool) -> None:
    route = route_for(TailscaleConfig(), TARGET, HOST)
    check_free(parse_serve_config(json.dumps(theirs)), route, background=background)


def test_a_route_of_ours_in_the_background_is_free_only_for_one_in_the_background() -> None:
    route = route_for(TailscaleConfig(), TARGET, HOST)
    served = parse_serve_config(json.dumps(web("/")))
    check_free(served, route, background=True)
    with pytest.raises(SetupError, match=r"443: / -> http://127.0.0.1:3000"):
        check_free(served, route, background=False)
