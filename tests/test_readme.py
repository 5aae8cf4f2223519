"""The README in two languages: its code runs, and its tables are right."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from prx_tunnel_core import _configfile
from prx_tunnel_core._cli.parser import build
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core._plugins.names import BACKENDS, OBSERVERS
from prx_tunnel_core.config import ReconnectConfig, TunnelConfig, validate
from support.readme import CHINESE, README, ROOT, blocks, console_blocks

HOSTS = [code for code in blocks("python") if "print(" in code]
PAGES = pytest.mark.parametrize("page", [README, CHINESE], ids=["en", "zh"])


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


def test_the_configuration_example_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, "a-secret-of-a-test")
    (text,) = blocks("toml")
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    config = _configfile.load(path)
    plugins = PluginRegistry()
    backend = plugins.backend(config.tunnel.backend)
    validate(backend.config, config.tunnel.table(backend.name), path=f"tunnel.{backend.name}")
    (observer,) = plugins.observers(config.tables)
    expanded = tomllib.loads(re.sub(r"\$\{[A-Z_]+\}", "a-secret-of-a-test", text))
    validate(observer.config, expanded[observer.name], path=observer.name)


@PAGES
def test_the_configuration_table_tells_the_real_defaults(page: str) -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([^`]+)`", page, re.MULTILINE)
    assert len(rows) > 10
    for key, default in rows:
        settings: BaseModel = TunnelConfig()
        *tables, name = key.split(".")
        for table in tables:
            settings = getattr(settings, table)
        shown = ast.literal_eval({"true": "True", "false": "False"}.get(default, default))
        assert getattr(settings, name) == shown, key


@PAGES
@pytest.mark.parametrize(
    ("model", "table"), [(TunnelConfig, ""), (ReconnectConfig, "reconnect.")], ids=["", "reconnect"]
)
def test_the_configuration_table_has_every_key(
    page: str, model: type[BaseModel], table: str
) -> None:
    keys = {f"{table}{key}" for key in model.model_fields} - {"reconnect"}
    (rows,) = re.findall(r"^\| `backend` \|.*?\n\n", page, re.DOTALL | re.MULTILINE)
    assert {key for key in keys if not re.search(rf"`{re.escape(key)}[` ]", rows)} == set()


@PAGES
def test_the_commands_and_their_options_exist(
    page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = re.findall(r"^\| `prx ([a-z -]+?)(?: ([\[A-Z][^`]*))?`(.*?) \|", page, re.MULTILINE)
    assert "tunnel start" in [command for command, _, _ in rows]
    parser = build()
    for command, options, others in rows:
        for word in [command.split()[-1], *re.findall("`([a-z]+)`", others)]:
            given = [*command.split()[:-1], word, "--help"]
            with pytest.raises(SystemExit) as end:
                parser.parse_args(given)
            assert end.value.code == 0, given
            text = capsys.readouterr().out
            for option in re.findall(r"--[a-z-]+", f"{options} {others}"):
                assert option in text, (given, option)


def test_both_languages_have_the_same_code_commands_and_links() -> None:
    assert _code(CHINESE) == _code(README)
    assert _inline_commands(CHINESE) == _inline_commands(README)
    links = [set(re.findall(r"\]\(([^)]+)\)", page)) for page in (README, CHINESE)]
    assert links[0] ^ links[1] == {"README.md", "README.zh.md"}
    levels = [re.findall(r"^#+ ", page, re.MULTILINE) for page in (README, CHINESE)]
    assert levels[0] == levels[1]


def _code(page: str) -> list[str]:
    return re.findall(r"^```[a-z]+\n.*?^```$", page, re.DOTALL | re.MULTILINE)


def _inline_commands(page: str) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose))
    return sorted({span for span in spans if re.match(r"(sudo|pip|prx|\.) ", span)})


def test_t02_a_newcomer_is_told_two_commands() -> None:
    demo, tests = [line for block in console_blocks() for line in block if "venv .venv" in line]
    assert demo.endswith("/prx tunnel demo")
    assert tests.endswith("/uv run pytest")
    assert "sudo apt install python3-venv" in README


def test_t04_every_backend_is_in_the_comparison() -> None:
    for name in BACKENDS:
        assert f"| [`{name}`](docs/backends/{name}.md)" in README
        assert f"| [`{name}`](docs/backends/{name}.md)" in CHINESE


def test_what_is_installed_from_the_clone_is_there() -> None:
    lines = [line for block in console_blocks() for line in block]
    paths = {path for line in lines for path in re.findall(r" (\./\S+)", line)}
    assert paths == {"./plugins/ssh", "./plugins/cloudflare"}
    for name in (*BACKENDS, *OBSERVERS):
        assert f"-{name}`" in README
        assert (ROOT / "plugins" / name / "pyproject.toml").exists()


def test_t04_the_picture_shows_every_step_of_the_demo() -> None:
    picture = (ROOT / "docs/images/demo.svg").read_text(encoding="utf-8")
    text = re.sub("<[^>]+>", "\n", picture).replace("&#160;", " ")
    steps = ["agent", "connected", "delivered", "cut", "reconnecting", "connected again",
             "delivered again", "health", "stopped", "nothing left"]  # fmt: skip
    shown = re.findall(r"^ +[0-9.]+ s  (.{16}) ", text, re.MULTILINE)
    assert [step.strip() for step in shown] == steps
    assert "$ prx tunnel demo" in text
    assert "Demo completed in" in text
    assert not re.search(r"url\((?!#)|href=|@import", picture), "it loads something from elsewhere"
