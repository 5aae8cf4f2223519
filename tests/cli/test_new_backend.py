"""What `prx tunnel new-backend` writes and prints.

That both work is for tests/e2e/test_examples.py and tests/e2e/test_new_backend_steps.py.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from prx_tunnel_core._cli import main
from prx_tunnel_core._cli import new_backend as new_backend_command

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def new_backend(*arguments: str) -> int:
    return main(["tunnel", "new-backend", *arguments])


def test_it_writes_a_whole_distribution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new_backend("my-relay2") == 0
    root = tmp_path / "prx-tunnel-my-relay2"
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files == {
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "prx_tunnel_my_relay2/__init__.py",
        "prx_tunnel_my_relay2/config.py",
        "prx_tunnel_my_relay2/connect.py",
        "prx_tunnel_my_relay2/diagnose.py",
        "prx_tunnel_my_relay2/py.typed",
        "pyproject.toml",
        "tests/test_my_relay2.py",
    }
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["prx_tunnel"] == {"my-relay2": "prx_tunnel_my_relay2"}
    (bound,) = project["dependencies"]
    assert bound in (ROOT / "plugins/ngrok/pyproject.toml").read_text()
    assert "\n  cd ./prx-tunnel-my-relay2 && " in capsys.readouterr().out
    text = "".join((root / name).read_text() for name in files)
    assert not [mark for mark in new_backend_command._words("x") if mark in text]
    assert "MY_RELAY2_TOKEN" in text


@pytest.mark.parametrize("name", ["x", "a-relay-with-a-name-of-32-letter"])
def test_its_form_does_not_depend_on_the_length_of_the_name(name: str, tmp_path: Path) -> None:
    assert new_backend(name, "made") == 0
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "made"]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_directory_may_be_named_and_may_be_there_and_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert new_backend("relay", "empty") == 0
    assert new_backend("relay", "new/below") == 0
    for name in ("empty", "new/below"):
        assert (tmp_path / name / "prx_tunnel_relay/__init__.py").is_file()


@pytest.mark.parametrize(
    ("place", "step"),
    [
        ("a folder", "cd './a folder' && "),
        ("it's", "cd './it'\"'\"'s' && "),
        ("$(touch x)", "cd './$(touch x)' && "),
        ("-P", "cd ./-P && "),
    ],
)
def test_t06_the_printed_steps_quote_the_folder(
    place: str, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new_backend("--", "relay", place) == 0
    assert f"\n  {step}" in capsys.readouterr().out


@pytest.mark.parametrize("pip", [True, False])
def test_t06_the_printed_steps_use_the_environment_that_runs_prx(
    pip: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(new_backend_command, "find_spec", lambda _: object() if pip else None)
    assert new_backend("relay") == 0
    python = shlex.quote(sys.executable)
    installer = f"{python} -m pip install" if pip else f"uv pip install --python {python}"
    expected = f"&& {installer} --editable . 'prx-tunnel-core[testing]' && {python} -m pytest\n"
    assert expected in capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        new_backend(*arguments)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = tmp_path / "prx-tunnel-relay"
    full.mkdir()
    (full / "mine").write_text("dear")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert "prx-tunnel-relay exists; choose another directory" in refused(capsys, "relay")
    for name in ("file", "link"):
        assert f"{name} exists" in refused(capsys, "relay", name)
    assert [path.name for path in full.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "name", ["", "Relay", "1relay", "../relay", "re_lay", "rélay", "a" * 33, "tunnel", "a-", "a--b"]
)
def test_bad_names_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "name" in refused(capsys, "--", name)
    assert not list(tmp_path.iterdir())


def test_the_name_of_an_installed_backend_is_refused_with_its_distribution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, "custom")
    assert "'custom' is the name of a backend of prx-tunnel-custom 0." in message
    assert not list(tmp_path.iterdir())


def test_what_fails_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {**new_backend_command._FILES, "no-such-template": "last"}
    monkeypatch.setattr(new_backend_command, "_FILES", files)
    assert new_backend("relay") == 1
    assert "no-such-template" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
