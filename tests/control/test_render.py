"""The texts of the state of a tunnel and of its observers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prx_tunnel_core import (
    Connected,
    Connecting,
    Failed,
    Idle,
    TunnelConfig,
    TunnelHealth,
    TunnelInfo,
    models,
)
from prx_tunnel_core._cli import views
from prx_tunnel_core._control import render
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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s ago"),
        (0, "0 s ago"),
        (59, "59 s ago"),
        (60, "1 min 0 s ago"),
        (3599, "59 min 59 s ago"),
        (3600, "1 h 0 min ago"),
        (90_061, "25 h 1 min ago"),
    ],
)
def test_times_are_relative(monkeypatch: pytest.MonkeyPatch, seconds: int, text: str) -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return now

    monkeypatch.setattr(render, "datetime", Clock)
    then = now - timedelta(seconds=seconds)
    info = TunnelInfo("https://a.example", "lab", 3000, then, details={"edge location": "lab01"})
    health = TunnelHealth("degraded", checked_at=then)
    lines = status_text(Connected(info), TunnelConfig(backend="lab"), health=health).splitlines()
    assert lines == [
        "Tunnel: lab (connected)",
        "Public URL: https://a.example",
        "Local: http://localhost:3000",
        f"Connected: {text}",
        "Edge location: lab01",
        f"Health: degraded, checked {text}",
    ]


@pytest.mark.parametrize(
    ("attempt", "most", "lines"),
    [(0, 10, []), (2, 10, ["Attempt: 2 of 10"]), (2, 0, ["Attempt: 2"])],
)
def test_attempts_are_counted_from_the_second_on(attempt: int, most: int, lines: list[str]) -> None:
    config = TunnelConfig.model_validate({"reconnect": {"max_attempts": most}})
    assert status_text(Connecting(attempt), config).splitlines()[2:] == lines


@pytest.mark.parametrize(
    ("host", "text"),
    [("127.0.0.1", "localhost:8080"), ("localhost", "localhost:8080"), ("::1", "[::1]:8080")],
)
def test_the_local_address(host: str, text: str) -> None:
    config = TunnelConfig(local_host=host, local_port=8080)
    assert render.local(config) == text
