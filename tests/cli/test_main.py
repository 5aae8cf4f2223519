"""What holds for every command: streams, help, version, completion, the list of backends."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from prx_tunnel_core import __version__, _cli
from prx_tunnel_core._cli import parser
from support.command import PATIENCE, Prx


def shell(
    prx: Prx, script: str, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in which `"$@"` is the command."""
    return subprocess.run(
        ["bash", "-c", script, "bash", *prx.command(*arguments)],
        env={**prx.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


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


@pytest.mark.parametrize("name", ["bash", "zsh", "tcsh"])
def test_completion(prx: Prx, name: str) -> None:
    done = prx("completion", name)
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("tunnel", "status", "detach"))


def test_bash_completes(prx: Prx) -> None:
    (prx.home / "completion").write_text(prx("completion", "bash").stdout)
    script = (
        'source "$HOME/completion"; COMP_WORDS=(prx tunnel sta); COMP_CWORD=2;'
        '_shtab_prx prx sta tunnel; echo "${COMPREPLY[@]}"'
    )
    assert shell(prx, script).stdout.split() == ["start", "status"]


def test_h18_a_reader_that_left(prx: Prx) -> None:
    prx.detach()
    for command in (["tunnel", "status"], ["tunnel", "logs"], ["--help"], ["tunnel", "backends"]):
        done = shell(prx, '"$@" | head -c0; echo "${PIPESTATUS[0]}"', *command)
        assert done.stderr == ""
        assert done.stdout in ("141\n", "0\n")  # 0: it had written all before the reader left
    script = '"$@" > /dev/full; echo $?'
    done = shell(prx, script, "tunnel", "status")
    assert (done.stdout, done.stderr) == ("1\n", "prx: [Errno 28] No space left on device\n")


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
        done = shell(prx, f'"$@" {redirection}', "tunnel", "status")
        assert (done.returncode, done.stderr) == (0, "")


def test_backends(prx: Prx) -> None:
    broken = prx.home / "site" / "prx_tunnel_broken-2.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: prx-tunnel-broken\nVersion: 2.0\n"
    )
    (broken / "entry_points.txt").write_text("[prx_tunnel]\nbroken = no_such_module\n")
    listed = {each["name"]: each for each in json.loads(prx("tunnel", "backends", "--json").stdout)}
    assert listed["lab"]["summary"] == "what a test says"
    assert (listed["lab"]["distribution"], listed["lab"]["version"]) == ("prx-tunnel-lab", "1.0")
    assert listed["lab"]["problem"] == ""
    assert "no_such_module" in listed["broken"]["problem"]
    done = prx("tunnel", "backends")
    assert done.returncode == 0
    assert "lab: what a test says\n  from prx-tunnel-lab 1.0\n" in done.stdout
    assert "  cannot be used: prx-tunnel-broken 2.0" in done.stdout


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
