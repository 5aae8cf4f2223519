"""Each distribution declares what it imports, and nothing else: `pip install` brings no more."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MEMBERS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
# Parts of another distribution, which depends on one exact version of them.
PARTS = {"pydantic-core": "pydantic"}
HOMES = packages_distributions()


def imports(package: Path) -> Iterator[str]:
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.split(".")[0]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in requirements}


def development() -> list[str]:
    """What the development group has for itself: no member of the workspace."""
    root = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [each for each in root["dependency-groups"]["dev"] if not each.startswith("prx-tunnel")]


@pytest.mark.parametrize(
    "member", MEMBERS, ids=lambda member: member.relative_to(ROOT).name or "core"
)
def test_t03_a_distribution_declares_what_it_imports_and_nothing_else(member: Path) -> None:
    project = tomllib.loads((member / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (package,) = [path.parent for path in member.glob("prx_tunnel_*/__init__.py")]
    imported = {
        normal(HOMES.get(module, [module])[0])
        for module in set(imports(package)) - sys.stdlib_module_names - {package.name}
    }
    imported = {PARTS.get(name, name) for name in imported}
    declared = names(project["dependencies"])
    extras = set().union(*map(names, project.get("optional-dependencies", {}).values()))
    assert imported - extras == declared - extras
    assert not declared & names(development()), "what only development needs"
