"""A route that lives as long as its program, against the stand-in as a real process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest
from prx_tunnel_tailscale.connect import connect
from tailscale_standin import HOST, PORTS, StandIn, web

from prx_tunnel_core import ConnectError, SetupError, Target

pytestmark = pytest.mark.anyio

TARGET = Target("127.0.0.1", 3000)


async def test_the_url_is_the_nodes_name(node: StandIn) -> None:
    async with connect(node.config(), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}"
        ((_, session),) = node.served["Foreground"].items()
        assert session == web("/")
    assert node.served == {}


@pytest.mark.parametrize(
    ("settings", "url", "served"),
    [
        ({"funnel_port": 8443}, f"https://{HOST}:8443", web("/", port=8443)),
        ({"path": "/hook"}, f"https://{HOST}/hook", web("/hook")),
        ({"mode": "serve"}, f"https://{HOST}", web("/", funnel=False)),
        (
            {"mode": "serve", "funnel_port": 9000, "path": "/a/b"},
            f"https://{HOST}:9000/a/b",
            web("/a/b", port=9000, funnel=False),
        ),
    ],
)
async def test_every_setting_reaches_the_node(
    settings: dict[str, object], url: str, served: object, node: StandIn
) -> None:
    async with connect(node.config(**settings), TARGET) as connection:
        assert connection.public_url == url
        assert list(node.served["Foreground"].values()) == [served]


async def test_the_socket_goes_before_every_command(node: StandIn) -> None:
    async with connect(node.config(socket="/run/my own/t.sock"), TARGET):
        pass
    assert {call[0] for call in node.calls} == {"--socket=/run/my own/t.sock"}


async def test_other_routes_are_left_alone(node: StandIn) -> None:
    theirs = web("/", port=8443, target="http://127.0.0.1:9000", funnel=False)
    node.serve(theirs)
    async with connect(node.config(), TARGET):
        pass
    assert node.served == theirs
    assert not any("reset" in call or "off" in call for call in node.calls)


async def test_it_tells_what_a_person_wants_to_know(node: StandIn) -> None:
    node.own(KeyExpiry="2126-11-22T13:07:07.123456789Z")
    async with connect(node.config(), TARGET) as connection:
        assert dict(connection.details) == {
            "reachable": "public (Funnel)",
            "kept by": "a foreground session",
            "node": HOST,
            "tailscaled": "1.96.0",
            "relay": "test",
            "key expires": "2126-11-22",
        }


async def test_the_program_is_asked_to_end_by_the_signal_it_handles(node: StandIn) -> None:
    async with connect(node.config(), TARGET) as connection:
        pass
    # SIGINT alone has it exit with 0, as recorded.
    assert (await connection.wait_closed()).startswith("tailscale exited with code 0")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
async def test_no_token_of_the_host_reaches_the_program(
    node: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TS_AUTHKEY", "TS_API_KEY", "NGROK_AUTHTOKEN", "TUNNEL_TOKEN"):
        monkeypatch.setenv(name, "canary-9f3c")
    async with connect(node.config(), TARGET) as connection:
        assert b"canary" not in environment_of(node.session_pid())
        assert "canary" not in f"{node.calls} {connection.details}"


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_a_program_that_is_killed_leaves_nothing_behind(node: StandIn) -> None:
    async with connect(node.config(), TARGET) as connection:
        os.kill(node.session_pid(), signal.SIGKILL)
        assert "SIGKILL" in await connection.wait_closed()
        assert node.served == {}


@pytest.mark.parametrize(
    ("state", "reason"), [("refused", "unexpected EOF"), ("ended", "exited with code 0")]
)
async def test_the_end_of_the_daemon_is_a_drop(state: str, reason: str, node: StandIn) -> None:
    async with connect(node.config(), TARGET) as connection:
        node.daemon(state)
        assert reason in await connection.wait_closed()


async def test_a_reset_by_somebody_else_is_a_drop(node: StandIn) -> None:
    async with connect(node.config(), TARGET) as connection:
        node.run("funnel", "reset")
        assert "code 0" in await connection.wait_closed()


async def test_it_connects_again_after_the_daemon_came_back(node: StandIn) -> None:
    async with connect(node.config(), TARGET) as connection:
        node.daemon("ended")
        await connection.wait_closed()
    with pytest.raises(ConnectError, match="tailscaled is not running"):
        async with connect(node.config(), TARGET):
            pass
    node.daemon("up")
    async with connect(node.config(), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}"


async def test_a_lost_race_is_run_again(node: StandIn) -> None:
    node.fault(etag=2)
    async with connect(node.config(), TARGET):
        assert len(node.served["Foreground"]) == 1
    assert len(node.changes()) == 3


async def test_a_race_that_is_always_lost_is_told(node: StandIn) -> None:
    node.fault(etag=100)
    with pytest.raises(ConnectError, match="etag mismatch"):
        async with connect(node.config(), TARGET):
            pass


async def test_what_the_daemon_does_not_list_is_not_up(
    node: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_tailscale.foreground.CONFIRMED", 0.3)
    node.fault(unheld=True)
    with pytest.raises(ConnectError, match=r"does not list the route .*Available on the internet"):
        async with connect(node.config(), TARGET):
            pass


async def test_a_program_that_announces_and_dies_is_not_waited_for(node: StandIn) -> None:
    node.fault(unheld=True, dies=True)
    with pytest.raises(ConnectError, match="tailscaled ended or restarted"):
        async with connect(node.config(), TARGET):
            pass


async def test_another_wording_of_the_announcement_is_no_obstacle(
    node: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_tailscale.foreground.ANNOUNCED", 0.2)
    node.fault(mute=True)
    async with connect(node.config(), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}"


async def test_the_session_is_looked_for_until_it_is_listed(node: StandIn) -> None:
    node.fault(listed_late=2)
    async with connect(node.config(), TARGET):
        assert len(node.served["Foreground"]) == 1


async def test_a_session_of_before_may_take_a_moment_to_be_forgotten(node: StandIn) -> None:
    node.linger(web("/"), times=2)
    async with connect(node.config(), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}"


async def test_cancelling_a_start_leaves_nothing_behind(node: StandIn) -> None:
    node.fault(unheld=True)
    with anyio.move_on_after(30) as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_once_asked, node, scope)
            async with connect(node.config(), TARGET):
                raise AssertionError("it is not up")
    assert scope.cancelled_caught
    assert node.served == {}


async def cancel_once_asked(node: StandIn, scope: anyio.CancelScope) -> None:
    while not node.changes():
        await anyio.sleep(0.01)
    scope.cancel()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"denied": True}, "sudo tailscale set --operator=\\$USER"),
        ({"shields": True}, "set --shields-up=false"),
    ],
)
async def test_a_refusal_comes_with_its_fix(
    fault: dict[str, object], expected: str, node: StandIn
) -> None:
    node.fault(**fault)
    with pytest.raises(SetupError, match=expected):
        async with connect(node.config(), TARGET):
            pass
    assert node.served == {}


async def test_a_permission_taken_between_look_and_start_is_explained(node: StandIn) -> None:
    node.fault(revoked_after_status=[PORTS, "https"])
    with pytest.raises(SetupError, match="Funnel is not enabled for this node"):
        async with connect(node.config(), TARGET):
            pass
