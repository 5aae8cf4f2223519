"""`prx init`, and the file that it writes."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path

import pytest

from prx_tunnel_core._cli.init import sample
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core._plugins.names import BACKENDS
from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import ReconnectConfig, TunnelConfig, validate
from support.command import Prx


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
    assert set(document["reconnect"]) == set(ReconnectConfig.model_fields)


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
