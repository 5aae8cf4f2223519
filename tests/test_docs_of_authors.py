"""The author's guide and the page on hooks say what the code says.

That the guide's code works is for tests/e2e/test_examples.py.
"""

from __future__ import annotations

import inspect
import logging
import re
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from prx_tunnel_core import Backend, Connection, PluginRegistry, Tunnel, errors, programs
from prx_tunnel_core.hookspecs import TunnelSpecs
from prx_tunnel_core.testing._kit import Kit
from support.guide import GUIDE, HOOKS, files
from support.memory import Memory

SPECS = {
    name: list(inspect.signature(hook).parameters)[1:]
    for name, hook in vars(TunnelSpecs).items()
    if name.startswith("prx_tunnel")
}
ROOT = Path(__file__).parents[1]


def first_column(text: str, heading: str) -> list[str]:
    """The names in the first column of the table below a heading."""
    section = text.split(f"\n### {heading}\n", 1)[1].split("\n### ", 1)[0]
    return re.findall(r"^\| `(\w+)(?:\([^)]*\))?`", section, re.MULTILINE)


def test_each_hook_stands_there_with_its_exact_arguments() -> None:
    documented = dict(re.findall(r"^\| `(prx_tunnel_\w+)\(([^)]*)\)`", GUIDE, re.MULTILINE))
    assert documented == {name: ", ".join(arguments) for name, arguments in SPECS.items()}


def test_each_watching_hook_stands_there_with_its_types() -> None:
    rows = re.findall(r"^\| `(prx_tunnel_\w+)` \| (.*) \|$", HOOKS, re.MULTILINE)
    for name, cell in rows:
        parameters = list(inspect.signature(getattr(TunnelSpecs, name)).parameters.values())[1:]
        assert cell == ", ".join(f"`{each.name}: {each.annotation}`" for each in parameters)
    assert {name for name, _ in rows} == {name for name, arguments in SPECS.items() if arguments}


def test_what_a_backend_has_is_all_there() -> None:
    assert first_column(GUIDE, "`Backend`") == [field.name for field in fields(Backend)]


def test_what_a_connection_has_is_all_there() -> None:
    members = [*inspect.get_annotations(Connection), *vars(Connection)]
    public = [name for name in dict.fromkeys(members) if not name.startswith("_")]
    assert first_column(GUIDE, "`Connection`") == public


def test_what_a_contract_may_set_is_all_there() -> None:
    assert first_column(GUIDE, "The contract") == list(inspect.get_annotations(Kit))


def test_the_tree_of_errors_is_that_of_the_code() -> None:
    (tree,) = re.findall(r"^```text\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    assert errors.__doc__ is not None
    assert tree.splitlines() == [
        line.removeprefix("    ") for line in errors.__doc__.splitlines() if line.startswith("    ")
    ]


def test_the_functions_for_driving_a_program_are_listed() -> None:
    section = GUIDE.split("### Driving a program", 1)[1].split("###", 1)[0]
    listed = re.findall(r"^\| `(\w+)\(", section, re.MULTILINE)
    functions = [name for name in programs.__all__ if inspect.isfunction(getattr(programs, name))]
    assert sorted(listed) == functions


def test_the_modules_that_a_plugin_may_import_exist() -> None:
    section = GUIDE.split("### Versions", 1)[1].split("###", 1)[0]
    modules = re.findall(r"`([a-z]+)`", section)
    assert {"errors", "process", "programs"} <= set(modules)
    for name in modules:
        home = ROOT / "prx_tunnel_core"
        assert (home / f"{name}.py").is_file() or (home / name).is_dir(), name


@pytest.mark.anyio
async def test_the_observer_of_the_page_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = ModuleType("prx_tunnel_urlfile")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(files(HOOKS)["prx_tunnel_urlfile.py"], vars(module))
    plugins, memory = PluginRegistry(entry_points=list), Memory()
    plugins.register(module)
    plugins.register(memory_plugin(memory))
    caplog.set_level(logging.INFO)
    path = tmp_path / "url"
    config = {"backend": "memory", "health_check_url": False}
    tables = {"urlfile": {"path": str(path)}}
    with anyio.fail_after(20):
        async with Tunnel(config, name="web", plugins=plugins, tables=tables) as tunnel:
            await tunnel.start()
            while not path.exists() or not path.read_text():
                await anyio.sleep(0.005)
            assert path.read_text() == "https://agent.example.com\n"
            assert tunnel.observer_states == {"urlfile": {"file": str(path)}}
            await tunnel.health_check()
    assert not path.exists()
    assert "web is gone: Stopped()" in caplog.text
    assert "web is degraded" in caplog.text


def memory_plugin(memory: Memory) -> object:
    from collections.abc import Iterable

    from prx_tunnel_core import AnyBackend, hookimpl

    class Plugin:
        @hookimpl
        def prx_tunnel_backends(self) -> Iterable[AnyBackend]:
            yield memory.backend()

    return Plugin()


def test_the_files_of_the_guide_are_whole() -> None:
    assert set(files(GUIDE)) == {
        "pyproject.toml",
        "prx_tunnel_hello/__init__.py",
        "tests/test_hello.py",
    }
