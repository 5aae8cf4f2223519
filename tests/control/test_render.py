"""The texts of the state of a tunnel and of its observers."""

from __future__ import annotations

from prx_tunnel_core import Failed, Idle, TunnelConfig, TunnelHealth, models
from prx_tunnel_core._cli import views
from prx_tunnel_core._control.render import health_text, status_text


def test_a_failed_tunnel_is_in_the_state_error_everywhere() -> None:
    failed, config = Failed("no token"), TunnelConfig(backend="lab")
    assert models.status_to_json("default", failed, pid=1)["state"] == "error"
    assert models.describe(failed) == "error: no token"
    assert views.describe(failed, config) == ("ERROR", "Tunnel error: no token")
    assert status_text(failed, config).splitlines() == [
        "Tunnel: lab (error)",
        "Local: http://localhost:3000",
        "Last error: no token",
    ]


def test_each_thing_that_an_observer_tells_has_a_line() -> None:
    told = {"webhooks": {"bot": "registered https://a.example/bot", "app": "failed: 401"}}
    text = status_text(Idle(), TunnelConfig(), observers=told)
    assert text.splitlines()[-2:] == [
        "webhooks: bot registered https://a.example/bot",
        "webhooks: app failed: 401",
    ]
    assert (
        health_text(TunnelHealth("healthy"), observers=told).splitlines()[-2:]
        == (text.splitlines()[-2:])
    )
