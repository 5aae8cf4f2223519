"""A route that tailscaled keeps: ours and only ours, on and off."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from prx_tunnel_tailscale.connect import connect
from tailscale_standin import HOST, PORTS, StandIn, web

from prx_tunnel_core import ConnectError, SetupError, Target

pytestmark = pytest.mark.anyio

TARGET = Target("127.0.0.1", 3000)
OTHER_PORT = web("/", port=8443, target="http://127.0.0.1:9000", funnel=False)
ON = ["funnel", "--bg", "--yes", "--https=443", "--set-path=/", "http://127.0.0.1:3000"]
OFF = ["funnel", "--https=443", "--set-path=/", "off"]


def together(*parts: dict[str, Any]) -> dict[str, Any]:
    keys = ("TCP", "Web", "AllowFunnel")
    merged = {key: {k: v for part in parts for k, v in part.get(key, {}).items()} for key in keys}
    return {key: value for key, value in merged.items() if value}


async def test_it_is_kept_while_connected_and_removed_after(node: StandIn) -> None:
    node.serve(OTHER_PORT)
    async with connect(node.config(background=True), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}"
        assert connection.details["kept by"] == "tailscaled"
        assert node.served == together(OTHER_PORT, web("/"))
    assert node.served == OTHER_PORT
    assert node.changes() == [ON, OFF]


async def test_serve_is_never_public(node: StandIn) -> None:
    # Left behind by `funnel --tcp=443 off`, as recorded in 81-stale-allowfunnel.
    node.serve({"AllowFunnel": {f"{HOST}:443": True}})
    async with connect(node.config(background=True, mode="serve"), TARGET):
        assert node.served == web("/", funnel=False)
    assert node.served == {}


async def test_a_route_of_ours_that_stayed_is_taken_over(node: StandIn) -> None:
    node.serve(web("/"))
    async with connect(node.config(background=True), TARGET):
        assert node.changes() == []
    assert node.served == {}


async def test_a_route_of_ours_that_is_not_public_is_made_public(node: StandIn) -> None:
    node.serve(web("/", funnel=False))
    async with connect(node.config(background=True), TARGET):
        assert node.served == web("/")
    assert node.served == {}


async def test_a_mount_that_appears_meanwhile_is_not_made_public(node: StandIn) -> None:
    node.fault(meanwhile={"/private": "http://127.0.0.1:9999"})
    with pytest.raises(SetupError, match=r"/private -> http://127.0.0.1:9999"):
        async with connect(node.config(background=True), TARGET):
            pass
    assert list(node.served["Web"][f"{HOST}:443"]["Handlers"]) == ["/private"]
    assert node.changes() == [ON, OFF]


async def test_lost_races_are_run_again_both_ways(node: StandIn) -> None:
    node.fault(etag=2)
    async with connect(node.config(background=True), TARGET):
        assert node.served == web("/")
        node.fault(etag=2)
    assert node.served == {}
    assert node.changes() == [ON] * 3 + [OFF] * 3


async def test_a_race_that_is_always_lost_is_told(node: StandIn) -> None:
    node.fault(etag=5)
    with pytest.raises(ConnectError, match="etag mismatch"):
        async with connect(node.config(background=True), TARGET):
            pass
    assert node.served == {}


async def test_what_others_add_later_stays(node: StandIn) -> None:
    async with connect(node.config(background=True, path="/pub"), TARGET):
        node.run("funnel", "--bg", "--set-path=/theirs", "http://127.0.0.1:4000")
    assert node.served == web("/theirs", target="http://127.0.0.1:4000")


async def test_a_route_that_others_replaced_is_theirs(node: StandIn) -> None:
    async with connect(node.config(background=True), TARGET) as connection:
        replaced = web("/", target="http://127.0.0.1:9999")
        node.serve(replaced)
        await connection.check()
        assert "removed or changed" in await connection.wait_closed()
    assert node.served == replaced


async def test_a_check_finds_that_the_route_is_gone(node: StandIn) -> None:
    async with connect(node.config(background=True), TARGET) as connection:
        assert {check.verdict for check in await connection.check()} == {"ok"}
        node.run("funnel", "--https=443", "off")
        verdicts = {check.name: check.verdict for check in await connection.check()}
        assert verdicts["route"] == "fail"
        with anyio.fail_after(5):
            await connection.wait_closed()
    assert OFF not in node.changes()


async def test_removal_works_without_the_permission(node: StandIn) -> None:
    # 73-caps-revoked-while-on: `funnel … off` is refused; 80: `serve … off` is not.
    async with connect(node.config(background=True), TARGET):
        node.allow("https")
    assert node.served == {}
    assert node.changes()[1:] == [OFF, ["serve", *OFF[1:]]]


@pytest.mark.parametrize("state", ["Stopped", "NeedsLogin"])
async def test_what_cannot_be_removed_is_told(
    state: str, node: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(node.config(background=True), TARGET):
        node.status(BackendState=state)
    assert node.served == web("/")
    (record,) = caplog.records
    assert "remove it: tailscale funnel --https=443 --set-path=/ off" in record.message


async def test_an_exit_code_of_zero_is_no_proof(node: StandIn) -> None:
    node.fault(pretend=True)
    with pytest.raises(ConnectError, match="does not keep the route"):
        async with connect(node.config(background=True), TARGET):
            pass


async def test_cancelling_a_start_removes_what_it_began(node: StandIn) -> None:
    with anyio.move_on_after(30) as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_once_asked, node, scope)
            async with connect(node.config(background=True), TARGET):
                await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert node.served == {}


async def cancel_once_asked(node: StandIn, scope: anyio.CancelScope) -> None:
    while not node.changes():
        await anyio.sleep(0.01)
    scope.cancel()


async def test_never_anything_wide(node: StandIn) -> None:
    """`reset` wipes everything, `off` without a path every mount of the port."""
    async with connect(node.config(background=True, path="/x"), TARGET):
        node.allow(PORTS)
    for call in node.changes():
        assert "reset" not in call
        assert "--set-path=/x" in call
