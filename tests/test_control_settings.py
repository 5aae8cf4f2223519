"""What two configurations differ in, as one process may tell another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prx_tunnel_core._control.settings import differing, marks
from prx_tunnel_core.config import TunnelConfig, validate
from prx_tunnel_core.expansion import expand
from support.control import call, served

TABLE: dict[str, Any] = {
    "backend": "lab",
    "local_port": 3000,
    "reconnect": {"max_attempts": 3},
    "lab": {"token": "tok-0123456789", "names": ["a", "b"], "env": {"LEVEL": "debug"}},
    "other": {"token": "tok-of-another"},
}
SALT = bytes(16)


def config(**changes: Any) -> TunnelConfig:
    return validate(TunnelConfig, {**TABLE, **changes}, path="tunnel")


def answer(of: TunnelConfig) -> dict[str, Any]:
    wire: dict[str, Any] = json.loads(json.dumps({"salt": SALT.hex(), "marks": marks(of, SALT)}))
    return wire


def lab(**changes: Any) -> dict[str, Any]:
    return {**TABLE["lab"], **changes}


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, []),
        ({"local_port": 3001}, ["tunnel.local_port"]),
        ({"reconnect": {"max_attempts": 4}}, ["tunnel.reconnect.max_attempts"]),
        ({"lab": lab(token="tok-9876543210")}, ["tunnel.lab.token"]),
        ({"lab": lab(names=["a"])}, ["tunnel.lab.names"]),
        ({"lab": lab(env={"LEVEL": "info"})}, ["tunnel.lab.env.LEVEL"]),
        ({"lab": lab(url="https://a.example")}, ["tunnel.lab.url"]),
        ({"other": {}}, []),
    ],
)
def test_what_differs_is_named(changes: dict[str, Any], keys: list[str]) -> None:
    assert differing(config(**changes), answer(config())) == keys
    assert differing(config(), answer(config(**changes))) == keys


def test_a_variable_and_its_value_are_the_same() -> None:
    table = lab(token=expand("${TOKEN}", {"TOKEN": "tok-0123456789"}, path="tunnel.lab.token"))
    assert differing(config(lab=table), answer(config())) == []


def test_a_mark_tells_no_value() -> None:
    assert all(len(mark) == 4 for mark in marks(config(), SALT).values())
    assert "tok-" not in json.dumps(answer(config()))
    assert marks(config(), SALT) != marks(config(), bytes(15) + b"\x01")


@pytest.mark.anyio
@pytest.mark.usefixtures("runtime")
async def test_asking_again_teaches_nothing_more() -> None:
    """Another salt for each answer would make a guess more certain with each of them."""
    async with served():
        first, again = [json.loads((await call("settings")).text) for _ in range(2)]
    assert first == again
    assert len(bytes.fromhex(first["salt"])) == 16
