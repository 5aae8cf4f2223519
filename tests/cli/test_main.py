"""What holds for every command: help, version, standard streams, errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prx_tunnel_core import __version__, _cli
from prx_tunnel_core._cli import parser
from support.command import Prx


def test_version(prx: Prx) -> None:
    assert prx("--version").stdout == f"prx {__version__}\n"


@pytest.mark.parametrize("columns", ["20", "80"])
@pytest.mark.parametrize("arguments", [[], ["tunnel"], ["tunnel", "start"], ["tunnel", "status"]])
def test_help(prx: Prx, arguments: list[str], columns: str) -> None:
    done = prx(*arguments, "--help", environ={"COLUMNS": columns})
    assert done.returncode == 0
    assert done.stdout.startswith("usage: prx")
    assert done.stderr == ""


def test_help_tells_of_exit_codes_and_completion(prx: Prx) -> None:
    text = prx("--help").stdout
    assert "prx completion bash > " in text
    assert "4  running but not connected" in text


@pytest.mark.parametrize("arguments", [[], ["tunnel"], ["tunnel", "begin"], ["begin"]])
def test_what_is_no_command(prx: Prx, arguments: list[str]) -> None:
    done = prx(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: prx")


def test_h18_a_reader_that_left(prx: Prx) -> None:
    prx.detach()
    for command in (["tunnel", "status"], ["tunnel", "logs"], ["--help"], ["tunnel", "backends"]):
        done = prx.shell('"$@" | head -c0; echo "${PIPESTATUS[0]}"', *command)
        assert done.stderr == ""
        assert done.stdout in ("141\n", "0\n")  # 0: it had written all before the reader left
    script = '"$@" > /dev/full; echo $?'
    done = prx.shell(script, "tunnel", "status")
    assert (done.stdout, done.stderr) == ("1\n", "prx: No space left on device\n")


@pytest.mark.parametrize(
    "environ",
    [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "0", "LC_ALL": "C"}],
)
def test_h19_what_a_terminal_cannot_write_is_replaced(prx: Prx, environ: dict[str, str]) -> None:
    prx.configure(lab="steps = ['setup the token f\N{LATIN SMALL LETTER U WITH DIAERESIS}r it']")
    done = prx("tunnel", "start", environ=environ)
    assert done.returncode == 1
    assert re.search(
        "prx: the token f(\N{LATIN SMALL LETTER U WITH DIAERESIS}|[?])r it", done.stderr
    )
    assert "Traceback" not in done.stderr


def test_closed_streams_harm_nobody(prx: Prx) -> None:
    prx.detach()
    for redirection in (">&-", "<&-", "2>&-", "<&- >&- 2>&-"):
        done = prx.shell(f'"$@" {redirection}', "tunnel", "status")
        assert (done.returncode, done.stderr) == (0, "")


def test_a_defect_keeps_its_traceback(prx: Prx) -> None:
    """Only what we know is explained in one line; the rest is for who has to repair it."""
    (prx.home / "site" / "sitecustomize.py").write_text(
        "import prx_tunnel_core._control.client as c\ndef call(*_): raise RuntimeError('defect')\n"
        "c.call = call\n"
    )
    done = prx("tunnel", "status")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_no_registry_of_commands_but_the_modules() -> None:
    """A command is a module with `register`, and one name in the parser's list of modules."""
    (package,) = _cli.__path__
    with_register = {
        file.parent.name if file.stem == "__init__" else file.stem
        for file in [*Path(package).glob("*.py"), *Path(package).glob("*/__init__.py")]
        if "\ndef register(" in file.read_text(encoding="utf-8")
    }
    listed = [*parser.COMMANDS, *parser.TUNNEL_COMMANDS]
    assert with_register == {module.__name__.rpartition(".")[2] for module in listed}


HOSTILE = "\x1b]0;owned\x07\x9b2J\rCRITICAL forged\u202e"
ARGUMENTS = {
    "a backend": ["tunnel", "start", "--backend", HOSTILE],
    "a name": ["tunnel", "status", "--name", HOSTILE],
    "a file": ["tunnel", "doctor", "--config", f"/nowhere/{HOSTILE}"],
    "a command": ["start", "--config", "/dev/null", "--", HOSTILE],
    "an option": ["tunnel", "start", f"--{HOSTILE}"],
    "a choice": ["completion", HOSTILE],
    "a new backend": ["tunnel", "new-backend", HOSTILE],
}


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_s14_nothing_foreign_controls_the_terminal(
    prx: Prx, arguments: list[str], tmp_path: Path
) -> None:
    done = prx(*arguments, cwd=tmp_path)
    shown = done.stdout + done.stderr
    assert shown
    assert all(line.isprintable() for line in shown.split("\n"))


def test_s14_nor_does_a_key_of_the_configuration(prx: Prx, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[tunnel]\n"a\\u001b]0;x\\u0007\\u202e\\rforged" = 1\n', encoding="utf-8")
    done = prx("tunnel", "start", "--config", str(file))
    assert done.returncode == 2
    assert all(line.isprintable() for line in done.stderr.split("\n"))


def test_s14_a_defect_is_told_without_what_it_carries(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: list[str]) -> int:
        raise ValueError(HOSTILE)

    monkeypatch.setattr(_cli.query, "quickly", broken)
    assert _cli.main(["tunnel", "status"]) == 1
    shown = capsys.readouterr().err
    assert "ValueError: " in shown
    assert all(line.isprintable() for line in shown.split("\n"))
