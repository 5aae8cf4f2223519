"""`.ci/version.py`, in a copy of what it changes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLUGINS = [str(path.relative_to(ROOT)) for path in ROOT.glob("plugins/*/pyproject.toml")]
CORE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAME = r"prx-tunnel-core(?:\[\w+\])?"
(BOUND,) = re.findall(rf'"{NAME}([^"]+)"', (ROOT / PLUGINS[0]).read_text(encoding="utf-8"))
NAMES_THE_BOUND = [
    *PLUGINS,
    "docs/hooks.md",
    "docs/writing-a-backend.md",
    "examples/prx-tunnel-bore/pyproject.toml",
    "prx_tunnel_core/_cli/new_backend/templates/pyproject.toml.in",
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns(".[!c]*", "__pycache__", "tests", "benchmarks", "performance")
    return Path(shutil.copytree(ROOT, tmp_path / "copy", ignore=ignored))


def version(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(copy / ".ci/version.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def contents(copy: Path) -> dict[str, str]:
    files = [path for path in copy.rglob("*") if path.suffix in {".toml", ".py", ".md", ".in"}]
    return {str(path.relative_to(copy)): path.read_text(encoding="utf-8") for path in files}


def test_the_distributions_of_this_checkout_agree() -> None:
    done = version(ROOT, "--check", f"v{CORE['version']}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("new", "bound"),
    [
        ("0.1.99", ">=0.1,<0.2"),
        ("0.99.0", ">=0.99,<0.100"),
        ("0.99.0rc1", ">=0.99.0rc1,<0.100"),
        ("99.4.2", ">=99.4,<100"),
    ],
)
def test_it_is_set_everywhere_and_nothing_else_moves(new: str, bound: str, copy: Path) -> None:
    before = contents(copy)
    done = version(copy, new)
    assert done.returncode == 0, done.stderr
    after = contents(copy)
    for project in ["pyproject.toml", *PLUGINS]:
        assert tomllib.loads(after[project])["project"]["version"] == new, project
    for path in NAMES_THE_BOUND:
        assert re.search(NAME + re.escape(bound), after[path]), path
        assert bound == BOUND or BOUND not in after[path], path
    code = "prx_tunnel_core/__init__.py"
    assert f'\n__version__ = "{new}"\n' in after[code]
    assert version(copy, CORE["version"]).returncode == 0
    assert contents(copy) == before


def test_a_tag_that_is_not_the_version_is_refused(copy: Path) -> None:
    assert version(copy, "99.2.0").returncode == 0
    assert version(copy, "--check", "v99.2.0").returncode == 0
    for tag in ("v0.1.0", "99.2.0", "v99.2", "v99.2.0rc1"):
        done = version(copy, "--check", tag)
        assert done.returncode == 1
        assert f"the tag {tag} does not release 99.2.0; tag v99.2.0" in done.stderr


def test_a_version_of_another_form_is_refused(copy: Path) -> None:
    before = contents(copy)
    for new in ("", "1", "0.2", "v0.2.0", "0.2.0.dev1", "0.2.0-rc1", "0.2.0\n", "01.2.0"):
        done = version(copy, "--", new)
        assert done.returncode == 1, new
        assert "is not a version such as 0.2.0" in done.stderr
    assert contents(copy) == before


@pytest.mark.parametrize(
    ("path", "pattern", "replacement", "named"),
    [
        ("plugins/ssh/pyproject.toml", r'^version = ".*"', 'version = "0.0.9"', "0.0.9"),
        ("prx_tunnel_core/__init__.py", r'^__version__ = ".*"', '__version__ = "9"', "9"),
        ("pyproject.toml", r'^version = ".*"', 'version = "0.0.9"', "0.0.9"),
        ("plugins/ngrok/pyproject.toml", r'^version = ".*"\n', "", "0 versions"),
        (
            "plugins/tailscale/pyproject.toml",
            r'(l-core)>=[^"]*(")',
            r"\1>=0.1\2",
            "core>=0.1 instead",
        ),
        (
            "plugins/tailscale/pyproject.toml",
            r'(l-core)>=[^"]*(")',
            r"\1~=0.1\2",
            "core~=0.1 instead",
        ),
        ("plugins/tailscale/pyproject.toml", r'(l-core)>=[^"]*(")', r"\1\2", "does not depend on"),
        ("docs/hooks.md", r"(core>=[\d.]+),<[\d.]+", r"\1,<99", ",<99 instead of"),
    ],
)
def test_an_inconsistent_state_is_refused_with_the_place(
    path: str, pattern: str, replacement: str, named: str, copy: Path
) -> None:
    text = (copy / path).read_text(encoding="utf-8")
    text, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
    assert count == 1
    (copy / path).write_text(text, encoding="utf-8")
    before = contents(copy)
    for arguments in (["0.2.0"], ["--check", f"v{CORE['version']}"], []):
        done = version(copy, *arguments)
        assert done.returncode == 1
        (line,) = [line for line in done.stderr.splitlines() if line.startswith(f"{path}: ")]
        assert named in line
    assert contents(copy) == before
