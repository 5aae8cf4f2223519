"""What the README shows is run, and what it lists is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from prx_tunnel_core import configfile
from prx_tunnel_core.cli.parser import build
from prx_tunnel_core.config import TunnelConfig, validate
from prx_tunnel_core.plugins import Plugins
from support.readme import README, blocks

HOSTS = [code for code in blocks("python") if "print(" in code]


@pytest.mark.parametrize("code", HOSTS, ids=["async", "blocking"])
def test_the_host_examples_open_a_tunnel(code: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "http://127.0.0.1:" in result.stdout


def test_the_configuration_example_is_valid(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    config = configfile.load(path).tunnel
    assert config.model_dump(include=set(tomllib.loads(text)["tunnel"])).keys() >= {"backend"}
    backend = Plugins().backend(config.backend)
    validate(backend.config, config.table(backend.name), path=f"tunnel.{backend.name}")


def test_the_configuration_table_tells_the_real_defaults() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([^`]+)`", README, re.MULTILINE)
    assert len(rows) > 10
    for key, default in rows:
        settings: BaseModel = TunnelConfig()
        *tables, name = key.split(".")
        for table in tables:
            settings = getattr(settings, table)
        shown = ast.literal_eval({"true": "True", "false": "False"}.get(default, default))
        assert getattr(settings, name) == shown, key


def test_the_commands_exist() -> None:
    commands = re.findall(r"^\| `prx ([a-z ]+?)(?: \[|`| SHELL)", README, re.MULTILINE)
    assert "tunnel start" in commands
    for command in commands:
        with pytest.raises(SystemExit) as end:
            build().parse_args([*command.split(), "--help"])
        assert end.value.code == 0, command


def test_every_link_leads_somewhere() -> None:
    root = Path(__file__).parents[1]
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (root / target).exists(), target
