"""The page about this backend is complete, and its examples are valid."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.relay.arguments import parse
from prx_tunnel_ssh.relay.settings import Limits

from prx_tunnel_core.config import validate

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/backends/ssh.md"
README = ROOT / "plugins/ssh/README.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="docs/ is not beside this plugin")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_every_setting_has_its_row_with_its_default() -> None:
    text = PAGE.read_text()
    for name, field in SshConfig.model_fields.items():
        (row,) = re.findall(rf"^\| `{name}` \| (.*?) \|", text, re.MULTILINE)
        if isinstance(field.default, str):
            assert f'"{field.default}"' in row
        elif field.default is not None:
            assert f"{field.default:g}" in row


def test_every_limit_of_the_relay_has_its_row_with_its_default() -> None:
    for limit in fields(Limits):
        option = f"| `--{limit.name.replace('_', '-')} N` | `{limit.default:g}` |"
        assert option in PAGE.read_text()


@pytest.mark.parametrize("page", [PAGE, README])
def test_the_tables_are_valid(page: Path) -> None:
    found = [tomllib.loads(block)["tunnel"] for block in blocks(page, "toml")]
    assert found
    for tunnel in found:
        validate(SshConfig, tunnel.get("ssh", {}), path="tunnel.ssh")


def test_the_commands_of_the_relay_are_valid() -> None:
    text = (PAGE.read_text() + README.read_text()).replace("\\\n", "")
    commands = re.findall(r"python -m prx_tunnel_ssh\.relay (--.*)", text)
    assert len(commands) == 4
    for command in commands:
        parse(shlex.split(command))


def test_the_errors_that_are_explained_exist() -> None:
    source = "".join(
        path.read_text() for path in (ROOT / "plugins/ssh/prx_tunnel_ssh").glob("*.py")
    )
    wrong = PAGE.read_text().partition("## What can go wrong")[2]
    phrases = re.findall(r"^\| `(.*?)` \|", wrong, re.MULTILINE)
    assert len(phrases) > 10
    for phrase in phrases:
        longest = max(re.split(r"…|'tunnel'|20001|8", phrase), key=len).strip()
        assert longest in re.sub(r'"\n\s*f?"', "", source), longest


def test_the_events_that_are_explained_exist() -> None:
    relay = ROOT / "plugins/ssh/prx_tunnel_ssh/relay"
    source = "".join(path.read_text() for path in relay.glob("*.py"))
    table = PAGE.read_text().partition("| in the log |")[2].partition("\n\n")[0]
    events = re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)
    assert len(events) > 4
    for event in events:
        assert f'"{event}"' in source
