"""`prx init` and `prx config`."""

from __future__ import annotations

import json
import re
import stat
import time
import tomllib
from pathlib import Path

import pytest

from prx_tunnel_core._cli.init import sample
from prx_tunnel_core._cli.masking import masked_command, masked_document
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core._plugins.names import BACKENDS
from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import TunnelConfig, validate
from support.command import Prx

CANARY = "canary-7d1e88"


@pytest.fixture
def fresh(prx: Prx) -> Prx:
    """Without a configuration file."""
    prx.config.unlink()
    return prx


# --- init --------------------------------------------------------------------------------------


def test_init_writes_a_private_file_and_prints_its_path(fresh: Prx) -> None:
    fresh.environ["PRX_CONFIG"] = path = str(fresh.home / "new" / "prx" / "config.toml")
    done = fresh("init", "--backend", "lab", "--port", "8123", umask=0)
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    written = tomllib.loads(Path(path).read_text())
    assert written["tunnel"]["backend"] == "lab"
    assert written["tunnel"]["local_port"] == 8123
    assert fresh("config").returncode == 0


def test_init_uses_the_configuration_directory(fresh: Prx) -> None:
    del fresh.environ["PRX_CONFIG"]
    fresh.environ["XDG_CONFIG_HOME"] = str(fresh.home / "xdg")
    done = fresh("init", "--backend", "lab")
    assert done.stdout == f"{fresh.home}/xdg/prx/config.toml\n"


@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "directory"])
def test_init_replaces_nothing(prx: Prx, kind: str) -> None:
    target = prx.home / "target.toml"
    prx.config.unlink()
    if kind == "file":
        prx.config.write_text("# mine\n")
    elif kind == "directory":
        prx.config.mkdir()
    else:
        prx.config.symlink_to(target)
        if kind == "link":
            target.write_text("# mine\n")
    done = prx("init", "--backend", "lab")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"prx: {prx.config} exists already and was not changed; show it with: prx config\n"
    )
    assert target.exists() == (kind == "link")
    if kind in ("file", "link"):
        assert prx.config.read_text() == "# mine\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "cloudflared"], "did you mean 'cloudflare'?"),
        (["--port", "22"], "local_port 22 is a port of services that must not be public"),
        (["--port", "70000"], "tunnel.local_port: "),
        (["--config", "/proc/nowhere/config.toml"], "choose another file with --config"),
    ],
)
def test_init_says_what_is_wrong_and_writes_nothing(
    fresh: Prx, arguments: list[str], said: str
) -> None:
    done = fresh("init", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not fresh.config.exists()


@pytest.mark.parametrize("name", BACKENDS)
def test_each_sample_is_valid_as_it_is_written(name: str) -> None:
    backend = PluginRegistry().backend(name)
    assert backend.example, "the sample of this project's own backends is written by hand"
    document = tomllib.loads(sample(backend))["tunnel"]
    tunnel = validate(TunnelConfig, document, path="tunnel")
    validate(backend.config, tunnel.table(name), path=f"tunnel.{name}")


def test_the_keys_that_are_shown_as_comments_have_their_defaults() -> None:
    text = sample(PluginRegistry().backend("ssh")).partition("[tunnel.ssh]")[0]
    commented = re.findall(r"^# ([a-z_]+ = .*)$", text, re.MULTILINE)
    assert len(commented) >= 8
    document = tomllib.loads(re.sub(r"^# ([a-z_]+ = )", r"\1", text, flags=re.MULTILINE))["tunnel"]
    tunnel = validate(TunnelConfig, document, path="tunnel")
    assert tunnel == TunnelConfig(backend="ssh")
    assert set(document) | {"local_host", "allow_sensitive_port"} == set(TunnelConfig.model_fields)


@pytest.mark.parametrize("name", BACKENDS)
def test_the_keys_in_an_example_exist(name: str) -> None:
    backend = PluginRegistry().backend(name)
    keys = re.findall(r"^#? ?([a-z_]+) = ", backend.example, re.MULTILINE)
    assert keys
    assert set(keys) <= set(backend.config.model_fields)


def test_a_backend_without_an_example_has_its_keys_listed() -> None:
    from prx_tunnel_ssh.config import SshConfig

    ssh = PluginRegistry().backend("ssh")
    plain = Backend(name="plain", summary="", config=SshConfig, connect=ssh.connect)
    table = sample(plain).partition("[tunnel.plain]\n")[2]
    assert "# port = 22\n" in table
    assert "# password = …\n" in table
    assert tomllib.loads(table) == {}


def test_init_chooses_what_works_here(fresh: Prx) -> None:
    """`lab` of the tests needs no program, and comes behind this project's own."""
    assert fresh("init").stdout == f"{fresh.config}\n"
    chosen = tomllib.loads(fresh.config.read_text())["tunnel"]["backend"]
    usable = [name for name in BACKENDS if name == "ssh" or _program_is_here(name)]
    assert chosen == usable[0]


def _program_is_here(name: str) -> bool:
    entries = {entry.name: entry for entry in PluginRegistry().listing()}
    return name != "custom" and entries[name].program_path is not None


# --- config ------------------------------------------------------------------------------------


def test_config_shows_what_the_file_says(prx: Prx) -> None:
    done = prx("config")
    assert (done.returncode, done.stderr) == (0, "")
    path, _, text = done.stdout.partition("\n")
    assert path == str(prx.config)
    assert tomllib.loads(text) == tomllib.loads(prx.config.read_text())


def test_config_without_a_file(fresh: Prx) -> None:
    done = fresh("config")
    assert (done.returncode, done.stdout) == (0, f"{fresh.config}\n")
    assert "prx init" in done.stderr
    report = json.loads(fresh("config", "--json").stdout)
    assert report == {"path": str(fresh.config), "exists": False, "config": {}}


def test_config_shows_a_file_that_is_not_valid_and_says_why(prx: Prx) -> None:
    prx.config.write_text("[tunnel]\nbackend = 'lab'\n[tunnel.lab]\ntypo = 1\n")
    done = prx("config")
    assert done.returncode == 2
    assert "[tunnel.lab]" in done.stdout
    assert "unknown key 'typo'" in done.stderr


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


def test_init_and_config_name_the_file_that_was_named(fresh: Prx) -> None:
    path = fresh.home / "my agent.toml"
    option = f"--config '{path}'"
    shown = fresh("config", "--config", str(path))
    assert shown.stderr.endswith(f"prx init {option}\n")
    written = fresh("init", "--backend", "lab", "--config", str(path))
    assert written.stderr.endswith(f"prx tunnel start {option}\n")
    again = fresh("init", "--backend", "lab", "--config", str(path))
    assert again.stderr.endswith(f"prx config {option}\n")


def test_config_prints_nothing_that_moves_a_cursor(prx: Prx) -> None:
    prx.config.write_text('[tunnel]\nbackend = "lab"\n[agent]\n"k\\u001b[2J" = true\n')
    for arguments in (["config"], ["config", "--json"]):
        assert "\x1b" not in prx(*arguments).stdout
