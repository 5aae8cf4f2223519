"""A token goes through every failure, and is found nowhere but in the child's environment."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from cloudflare_kit.installed import StandIn
from prx_tunnel_cloudflare import readiness
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connect import connect
from prx_tunnel_cloudflare.diagnose import diagnose

from prx_tunnel_core import Tunnel
from prx_tunnel_core.backend import Backend, Target
from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError, TunnelError
from prx_tunnel_core.models import status_to_json

pytestmark = pytest.mark.anyio

Configure = Callable[..., CloudflareConfig]

FAILURES: dict[str, list[dict[str, Any]]] = {
    "connected": [{"without": "version=8"}],
    "unauthorized": [
        {"play": ["c04-unauthorized-secret-text", 0]},
        {"play": ["c04-unauthorized-secret-http2-text", 0]},
    ],
    "unauthorized over http2": [{"play": ["c04-unauthorized-secret-http2-text", 0]}],
    "refused": [{"play": ["c05-register-error-permanent-http2", 0]}],
    "no names": [{"play": ["d05-token-no-dns", 0]}],
    "never connected": [{"play": ["d06-port-7844-blocked-auto-text", 0]}],
    "no public name": [{"play": ["c03-token-no-remote-config", 0]}],
    "rejected token": [{"play": ["a04-bad-tokens", 0]}],
    "silent exit": [{"play": ["d14-ready-command", 3], "exit": 3}],
}


def spellings(token: str) -> list[str]:
    inner = "Y2FuYXJ5LXNlY3JldA=="  # the tunnel's secret, inside the token
    encoded = base64.b64encode(token.encode()).decode()
    return [token, token.rstrip("="), quote(token, safe=""), encoded, inner]


def assert_absent(token: str, text: str) -> None:
    for spelling in spellings(token):
        assert spelling not in text


def arguments_of_all_processes() -> str:
    texts = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            texts.append(path.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(texts)


@pytest.mark.parametrize("name", FAILURES)
async def test_the_token_stays_where_it_belongs(
    stand_in: StandIn,
    configure: Configure,
    target: Target,
    token: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(readiness, "REFUSED_FOR", 0.0)
    # The program itself shows it, in each spelling, as others do in their errors.
    shown = [f"2026-11-22T13:06:27Z INF token is {text} and" for text in spellings(token)]
    stand_in.plan(*({**plan, "spoof": shown} for plan in FAILURES[name]))
    config = configure(token=token)
    seen = [repr(config), str(config), repr(config.token), config.model_dump_json()]
    try:
        with anyio.fail_after(1.0 if name == "never connected" else 20.0):
            async with connect(config, target) as connection:
                seen += [repr(connection), repr(connection.details), repr(vars(connection))]
                seen += [repr(await connection.check()), arguments_of_all_processes()]
    except TunnelError as error:
        seen += [str(error), repr(error), *traceback.format_exception(error)]
        seen.append(repr(getattr(error, "tail", "")))
    assert_absent(token, "\n".join([*seen, caplog.text]))
    for run in stand_in.runs:
        assert_absent(token, " ".join(run.argv) + run.config)
        found = [key for key, value in run.env.items() if token in value]
        assert found == ["TUNNEL_TOKEN"]
    masked = any("token is **********" in line for line in caplog.messages)
    assert masked == (name != "silent exit")


async def test_the_whole_way_to_the_status(
    stand_in: StandIn, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stand_in.plan({"play": ["a04-bad-tokens", 0], "spoof": [f"shown: {token}"]})
    backend = Backend(
        name="cloudflare", summary="", config=CloudflareConfig, connect=connect, diagnose=diagnose
    )
    table = {"token": token, "program": str(stand_in.program)}
    async with Tunnel({"cloudflare": table, "local_port": 9999}, backend=backend) as tunnel:
        with pytest.raises(TunnelError) as failed:
            await tunnel.start()
        told = [str(failed.value), repr(tunnel), repr(tunnel.status), repr(tunnel.config)]
        told.append(str(status_to_json("default", tunnel.status, pid=1)))
        told.append(repr(await tunnel.health_check()))
    assert_absent(token, "\n".join(told) + caplog.text)


async def test_a_sibling_that_is_wrong(token: str) -> None:
    table = {"token": token, "protocol": "gopher", "hostname": 5, "unknown": token}
    with pytest.raises(ConfigError) as refused:
        validate(CloudflareConfig, table, path="tunnel.cloudflare")
    text = "".join(traceback.format_exception(refused.value))
    assert_absent(token, text + repr(refused.value))


async def test_diagnosis(configure: Configure, token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token + "x")
    for table in ({"token": token}, {"token_file": str(tmp_path / "token")}):
        assert_absent(token, repr(await diagnose(configure(**table))))
