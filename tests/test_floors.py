"""Imports only go down: see docs/architecture.md."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = [
    {"errors", "models", "text", "urls", "expansion", "config", "isolation", "logs", "perloop",
     "visitors", "paths", "middleware", "admission", "trust"},
    {"backend", "hookspecs"},
    {"process"},
    {"health", "plugins", "configfile"},
    {"supervisor"},
    {"blocking", "control", "doctor", "hosting", "neighbours", "asgi"},
    {"cli", "__main__"},
]  # fmt: skip
SIDE_DOOR = {"testing"}  # for the tests of backends: nothing of core imports it
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
FLOOR |= dict.fromkeys(SIDE_DOOR, 4)
FOR_PLUGINS = 2

MODULES = sorted((ROOT / "prx_tunnel_core").rglob("*.py"))
PLUGIN_MODULES = sorted((ROOT / "plugins").glob("*/prx_tunnel_*/**/*.py"))


def name_of(path: Path) -> str:
    """The module or package of the core that the file belongs to."""
    return path.relative_to(ROOT / "prx_tunnel_core").parts[0].removesuffix(".py")


def imports_of_core(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            if node.module == "prx_tunnel_core":
                yield from (alias.name for alias in node.names)
            elif (node.module or "").startswith("prx_tunnel_core."):
                yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("prx_tunnel_core."):
                    yield alias.name.split(".")[1]


def test_every_module_has_a_floor() -> None:
    assert {name_of(path) for path in MODULES} - {"__init__"} == set(FLOOR)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    if name_of(path) == "__init__":
        return
    floor = FLOOR[name_of(path)]
    ups = {name for name in imports_of_core(path) if FLOOR.get(name, -1) > floor}
    assert not ups, f"floor {floor} imports {ups}"


def test_nobody_comes_in_by_the_side_door() -> None:
    inside = {path for path in MODULES if name_of(path) not in SIDE_DOOR}
    assert not [path for path in inside if SIDE_DOOR.intersection(imports_of_core(path))]


@pytest.mark.parametrize("path", PLUGIN_MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_stand_on_floor_two(path: Path) -> None:
    """Public names may be imported from the package itself, but only those of these floors."""
    import prx_tunnel_core

    home = prx_tunnel_core._MODULES
    used = {home.get(name, name) for name in imports_of_core(path)}
    ups = {name for name in used if FLOOR.get(name, -1) > FOR_PLUGINS}
    assert not ups


HEAVY = ["pydantic", "httpx", "asyncio", "trio", "rich", "anyio", "pluggy", "importlib_metadata"]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, prx_tunnel_core; print([m for m in {HEAVY} if m in sys.modules])"
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    )
    assert result.stdout.strip() == "[]"


def test_every_public_name_exists_and_is_listed_once() -> None:
    import prx_tunnel_core

    assert sorted(prx_tunnel_core._MODULES) == sorted(prx_tunnel_core.__all__)
    assert prx_tunnel_core.__all__ == sorted(set(prx_tunnel_core.__all__))
    for name in prx_tunnel_core.__all__:
        assert getattr(prx_tunnel_core, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Tunel'"):
        prx_tunnel_core.Tunel  # type: ignore[attr-defined]  # noqa: B018
