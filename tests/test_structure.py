"""The structure that docs/architecture.md describes: layers, private modules, no import cycles."""

from __future__ import annotations

import graphlib
import os
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["prx_tunnel_core", *sorted(path.name for path in ROOT.glob("plugins/*/prx_tunnel_*"))]


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """What each module of ours imports of ours, imports for type checkers included."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def test_the_contracts_in_pyproject_hold() -> None:
    """Layers, public modules, independent plugins, and what may load third-party packages."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_imports_itself_through_others(imports: dict[str, set[str]]) -> None:
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_core_has_about_ninety_modules(imports: dict[str, set[str]]) -> None:
    """Packages are not counted: their `__init__` describes or re-exports what is in them."""
    core = {module for module in imports if f"{module}.".startswith("prx_tunnel_core.")}
    packages = {module.rpartition(".")[0] for module in core}
    assert len(core - packages) <= 95


LOADED_LATE = [
    "pydantic", "httpx", "asyncio", "trio", "rich", "anyio", "pluggy", "importlib_metadata",
]  # fmt: skip


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, prx_tunnel_core; print([m for m in {LOADED_LATE} if m in sys.modules])"
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
