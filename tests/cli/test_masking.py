"""The secrets that `prx config` masks, and what it shows."""

from __future__ import annotations

import json
import time
import tomllib

import pytest

from prx_tunnel_core._cli.masking import masked_command, masked_document
from prx_tunnel_core._plugins import PluginRegistry

CANARY = "canary-7d1e88"

SECRETS = f"""
top = "{CANARY}"
[gateway]
port = 3000
secret = "{CANARY}"
command = ["agent", "--api-key", "{CANARY}", "--token={CANARY}"]
[agent]
openai = "{CANARY}"
pin = 4711
switch = true
nested = {{ list = ["{CANARY}"] }}
[tunnel]
backend = "ngrok"
[tunnel.reconnect]
enabled = true
[tunnel.ngrok]
authtoken = "{CANARY}"
domain = "my.ngrok.app"
basic_auth = ["user:{CANARY}"]
traffic_policy = {{ deep = "{CANARY}" }}
[tunnel.ngrok.oauth]
provider = "github"
client_secret = "{CANARY}"
[tunnel.custom]
command = "bore local --secret {CANARY} --to bore.pub"
public_url = "https://user:{CANARY}@example.com/?token={CANARY}"
env = {{ TOKEN = "{CANARY}", OTHER = "${{REFERENCE}}", BOTH = "${{A:-{CANARY}}}" }}
[tunnel.not-installed]
key = "{CANARY}"
[webhooks.github]
secret = "{CANARY}"
[unknown]
key = "{CANARY}"
"""


def test_config_shows_no_secret() -> None:
    shown = masked_document(tomllib.loads(SECRETS), PluginRegistry())
    assert CANARY not in json.dumps(shown)
    assert "4711" not in json.dumps(shown)
    assert shown["gateway"]["port"] == 3000
    assert shown["gateway"]["command"][:2] == ["agent", "--api-key"]
    assert shown["agent"]["switch"] is True
    assert shown["tunnel"]["ngrok"]["domain"] == "my.ngrok.app"
    assert shown["tunnel"]["ngrok"]["oauth"]["provider"] == "github"
    assert shown["tunnel"]["custom"]["command"].startswith("bore local --secret ")
    assert shown["tunnel"]["custom"]["command"].endswith(" --to bore.pub")
    assert shown["tunnel"]["custom"]["env"]["OTHER"] == "${REFERENCE}"


@pytest.mark.parametrize(
    "words",
    [
        "-p {}", "-p{}", "-k hunter", "--key {}", "--pass {}", "--pwd={}", "--bearer {}", "{}",
        "TOKEN={}", "-u me:{}", "me:{}", "--dsn postgres://h/{}", "https://hooks.example.com/T0/{}",
        "https://{}@example.com", "-H 'Authorization: Bearer {}'", "sh -c 'app --x {}'",
        "--code {}", "--cookie sid={}", "'{}", "-- {}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("secret", [CANARY, "sk-Canary7d1e88", "eyJhbGci.eyJzdWIi.c2lnbmF0"])
def test_config_shows_no_argument_that_may_be_a_secret(words: str, secret: str) -> None:
    for canary in (secret, "hunter"):
        text = f"app {words.format(secret)}"
        listed = text.replace("'", "").split()
        for shown in (masked_command(text), masked_command(listed)):
            assert canary not in str(shown)


@pytest.mark.parametrize(
    "command",
    [
        "uvicorn app:app --host 127.0.0.1 --port 8000 --log-level info",
        "python3 -m http.server 8000",
        "/usr/bin/python3.11 -m my_agent.main -c ./agent.toml",
        "bore local {port} --to bore.pub",
        "frpc http --local-port={port} --token ${FRP_TOKEN}",
        "npm run start -- --watch",
    ],
)
def test_config_shows_an_ordinary_command(command: str) -> None:
    assert masked_command(command) == command
    assert masked_command(command.split()) == command.split()


def test_config_shows_no_password_beside_a_host() -> None:
    document = {
        "tunnel": {
            "ssh": {
                "host": f"me:{CANARY}@example.com",
                "public_url": f"https://example.com/#access_token={CANARY}",
            },
            "cloudflare": {"extra_args": ["--loglevel", "debug", "--token", CANARY]},
        }
    }
    shown = masked_document(document, PluginRegistry())["tunnel"]
    assert CANARY not in json.dumps(shown)
    assert shown["ssh"]["host"].endswith("@example.com")
    assert shown["cloudflare"]["extra_args"][:3] == ["--loglevel", "debug", "--token"]


def test_masking_takes_time_by_the_length_only() -> None:
    long = "a:" * 100_000
    document = {"tunnel": {"local_host": long}, "gateway": {"command": ["app", long]}}
    started = time.monotonic()
    masked_document(document, PluginRegistry())
    assert time.monotonic() - started < 10
