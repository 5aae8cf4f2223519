"""Any HTTP API: what a template makes of a URL and of secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from webhook_kit.endpoints import KEY, EndpointServer
from webhook_kit.server import says
from webhook_kit.tunnel import observed, shows

pytestmark = pytest.mark.anyio


@pytest.fixture
def api() -> Iterator[EndpointServer]:
    with EndpointServer() as server:
        yield server


def own(server: EndpointServer, **table: Any) -> dict[str, Any]:
    basis: dict[str, Any] = {
        "kind": "http",
        "path": "/hook",
        "method": "PUT",
        "url": f"{server.url}/endpoints/agent",
        "headers": {"Authorization": "Bearer {key}"},
        "body": {"url": "{url}", "events": ["a", "{b}"], "active": True, "limit": 3},
        "secrets": {"key": KEY},
    }
    return {"own": {**basis, **table}}


async def test_a_table_is_sent_as_json(api: EndpointServer) -> None:
    async with observed(own(api)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "own", "registered https://a.example.com/hook")
    assert api.endpoints == {"agent": "https://a.example.com/hook"}
    assert api.asked[0].json() == {
        "url": "https://a.example.com/hook",
        "events": ["a", "{b}"],
        "active": True,
        "limit": 3,
    }
    assert api.asked[0].headers["content-type"] == "application/json"


BODIES = [
    ("application/json", '{{"u": "{url}", "k": "{key}", "x": "{other}"}}', None),
    (
        "application/x-www-form-urlencoded",
        "u={url}&k={key}",
        "u=https%3A%2F%2Fa.example.com%2Fh&k=a%22",
    ),
    ("text/plain", "{url} {key} {}", 'https://a.example.com/h a"b\\c&d {}'),
]


@pytest.mark.parametrize(("content_type", "body", "expected"), BODIES)
async def test_values_are_escaped_for_the_content_type(
    api: EndpointServer, content_type: str, body: str, expected: str | None
) -> None:
    if content_type == "application/json":
        body = body.replace("{{", "{").replace("}}", "}")
    api.fault = says(200)
    table = {"path": "/h", "body": body, "content_type": content_type, "headers": {}}
    secret = 'a"b\\c&d'
    async with observed(own(api, secrets={"key": secret}, **table)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "own", "registered")
    sent = api.asked[0].body.decode()
    if expected is None:
        assert json.loads(sent) == {"u": "https://a.example.com/h", "k": secret, "x": "{other}"}
    else:
        assert sent.startswith(expected)
    assert api.asked[0].headers["content-type"] == content_type


async def test_in_the_address_values_are_percent_encoded(api: EndpointServer) -> None:
    api.fault = says(204)
    table = {
        "method": "GET",
        "url": f"{api.url}/set?to={{url}}&k={{key}}",
        "body": None,
        "headers": {"X-Url": "{url}"},
        "secrets": {"key": "a/b c&d"},
    }
    async with observed(own(api, **table)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "own", "registered")
    (asked,) = api.asked
    assert asked.target == "/set?to=https%3A%2F%2Fa.example.com%2Fhook&k=a%2Fb%20c%26d"
    assert asked.headers["x-url"] == "https://a.example.com/hook"
    assert asked.body == b""


async def test_a_value_is_never_replaced_in_another_value(api: EndpointServer) -> None:
    api.fault = says(200)
    async with observed(own(api, secrets={"key": "{url}{key}"})) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "own", "registered")
    assert api.asked[0].headers["authorization"] == "Bearer {url}{key}"


async def test_a_refusal_is_told_without_the_secret(api: EndpointServer) -> None:
    api.fault = says(422, f"no such thing, {KEY}".encode())
    async with observed(own(api)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        told = await shows(state, "own", "422")
        assert "no such thing, **********" in told
        api.fault = None
        await shows(state, "own", "registered")


async def test_half_a_secret_at_the_end_of_a_long_answer_is_no_leak(api: EndpointServer) -> None:
    for length in range(160, 400, 8):
        api.faults.append(says(422, b"x" * length + KEY.encode() * 3))
    async with observed(own(api, backoff_base_ms=1, backoff_max_ms=1)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        told = ""
        while "registered" not in told:
            assert KEY[:6] not in told
            told = state()["own"]
            await anyio.lowlevel.checkpoint()


async def test_it_is_removed_by_a_request_of_its_own(api: EndpointServer) -> None:
    remove = {
        "method": "DELETE",
        "url": f"{api.url}/endpoints/agent",
        "headers": {"Authorization": "Bearer {key}"},
    }
    async with observed(own(api, remove=remove)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "own", "registered")
    assert api.endpoints == {}
