"""Which tests a command runs, and with which signals: the root's `conftest.py`, in a small tree."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SLOW, QUICK, MARKED = "tests/faults/test_slow.py", "tests/test_quick.py", "tests/test_marked.py"
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
SETTINGS = """
[tool.pytest.ini_options]
markers = ["heavy"]
testpaths = ["tests"]
"""
BODY = "def test_it():\n    pass\n\n\ndef test_too():\n    pass\n"
SIGNALS = """
import signal
import subprocess
import sys

NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
CODE = "import signal; print([int(signal.getsignal(n) is signal.SIG_IGN) for n in (1, 2, 3)])"


def test_neither_the_tests_nor_what_they_start_ignores_one():
    assert [n for n in NUMBERS if signal.getsignal(n) is signal.SIG_IGN] == []
    assert subprocess.check_output([sys.executable, "-c", CODE], text=True) == "[0, 0, 0]\\n"


def test_an_interrupt_is_an_exception():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    (tree / "tests" / "faults").mkdir(parents=True)
    shutil.copy(ROOT / "conftest.py", tree)
    (tree / "pyproject.toml").write_text(SETTINGS)
    (tree / SLOW).write_text(BODY)
    (tree / QUICK).write_text(BODY)
    (tree / MARKED).write_text(f"import pytest\n\n\n@pytest.mark.heavy\n{BODY}")
    return tree


def ran(tree: Path, *arguments: str, start: Callable[[], None] | None = None) -> set[str]:
    """The tests that passed; each that did not is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "xdist", *arguments],
        cwd=tree,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # else seconds go into loading
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=start,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = re.findall(r"^(?:\[.*\] PASSED (\S+)|(\S+) PASSED)", done.stdout, re.MULTILINE)
    return {one or other for one, other in lines}


def both(*files: str) -> set[str]:
    return {f"{file}::{name}" for file in files for name in ("test_it", "test_too")}


def test_pytest_alone_leaves_the_heavy_ones_out(tree: Path) -> None:
    assert ran(tree) == {*both(QUICK), f"{MARKED}::test_too"}


def test_tests_named_on_the_command_line_run_whatever_their_mark(tree: Path) -> None:
    one = f"{MARKED}::test_it"
    assert ran(tree, "-n", "1", SLOW, one) == {*both(SLOW), one}
    assert ran(tree, "tests") == both(SLOW, QUICK, MARKED)


def test_marks_select_as_ever(tree: Path) -> None:
    assert ran(tree, "-n", "1", "-m", "heavy") == {*both(SLOW), f"{MARKED}::test_it"}
    assert ran(tree, "-m", "not heavy", "tests") == {*both(QUICK), f"{MARKED}::test_too"}


def test_each_entry_of_the_heavy_ones_is_some_test() -> None:
    """What was renamed would quietly be in every run."""
    spec = importlib.util.spec_from_file_location("root_conftest", ROOT / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/**/test_*.py")]
    files += [path.relative_to(ROOT).as_posix() for path in ROOT.glob("plugins/*/tests/test_*.py")]
    lost = [each for each in module.HEAVY if not any(file.startswith(each) for file in files)]
    assert lost == []


def ignoring() -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)


def test_signals_that_the_caller_ignores_are_not_ignored_in_tests(
    tree: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(tree, tmp_path / "tree")
    (other / "tests" / "test_signals.py").write_text(SIGNALS)
    assert len(ran(other, "-n", "1", "tests/test_signals.py", start=ignoring)) == 2
