"""What others build on, as text: when this test fails, somebody's program may break.

If that is meant: `python tests/test_public_api.py` writes the new text; a removal or a change of
meaning also moves the upper bound of every plugin: `python .ci/version.py`.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import pluggy
from pydantic import BaseModel

import prx_tunnel_core
from prx_tunnel_core.testing._contract import TESTS

SNAPSHOT = Path(__file__).with_name("snapshots") / "public_api.txt"


def public_api() -> str:
    """Every public module, and what each adds to those before it."""
    lines: list[str] = []
    for module in public_modules():
        lines += ["", f"# {module.__name__}"]
        for name in public_names(module):
            lines += described(name, getattr(module, name))
    return "\n".join(lines[1:]) + "\n"


def public_modules() -> Iterator[ModuleType]:
    """Those without an underscore in their path; the package itself comes first."""
    yield prx_tunnel_core
    for found in walk_packages(prx_tunnel_core.__path__, f"{prx_tunnel_core.__name__}."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield import_module(found.name)


def public_names(module: ModuleType) -> list[str]:
    """`__all__`, else what the module defines: not what it imports."""
    if (listed := getattr(module, "__all__", None)) is not None:
        return sorted(listed)
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", module.__name__) == module.__name__
        and name in defined(module)
    )


def defined(module: ModuleType) -> set[str]:
    """What stands at the module's top level, imports left out."""
    names: set[str] = set()
    for node in ast.parse(inspect.getsource(module)).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case _:
                pass
    return names


def described(name: str, value: object) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"{_function(name, value)}"
        return
    bases = [base.__name__ for base in value.__bases__ if base is not object]
    yield f"class {name}({', '.join(bases)})"
    yield from sorted(f"    {line}" for line in _members(value))


def _members(kind: type[Any]) -> Iterator[str]:
    for owner in kind.__mro__:
        if owner.__module__.startswith(prx_tunnel_core.__name__):
            yield from _attributes(kind, owner)
            yield from _methods(kind, owner)


def _attributes(kind: type[Any], owner: type[Any]) -> Iterator[str]:
    optional = set(vars(owner))
    if dataclasses.is_dataclass(kind):
        optional = {
            field.name
            for field in dataclasses.fields(kind)
            if (field.default, field.default_factory) != (dataclasses.MISSING,) * 2
        }
    elif issubclass(kind, BaseModel):
        optional = {key for key, field in kind.model_fields.items() if not field.is_required()}
    for name, annotation in inspect.get_annotations(owner).items():
        if not name.startswith("_"):
            text = getattr(annotation, "__forward_arg__", annotation)  # of a TypedDict
            yield f"{name}: {text}{' = ...' if name in optional else ''}"


def _methods(kind: type[Any], owner: type[Any]) -> Iterator[str]:
    for name, member in vars(owner).items():
        if name == "__init__":
            if issubclass(kind, Exception) and owner is kind:
                yield _function(name, member)
        elif name.startswith(("_", "model_")) or name in inspect.get_annotations(owner):
            continue
        elif isinstance(member, property) and member.fget is not None:
            yield f"{name} -> {inspect.signature(member.fget).return_annotation}"
        elif callable(member) and name not in TESTS:
            yield _function(name, member)


def _function(name: str, value: object) -> str:
    kind = "async " if inspect.iscoroutinefunction(value) else ""
    return f"{kind}{name}{_signature(value)}"


def _signature(value: Any) -> str:
    """As it is written: with `from __future__ import annotations`, types are text."""
    if isinstance(value, pluggy.HookimplMarker | pluggy.HookspecMarker):
        return f" = {type(value).__name__}({value.project_name!r})"
    if not inspect.isroutine(value):  # a constant, an alias of a type
        return f" = {_Shown(value)!r}"
    signature = inspect.signature(value)
    plain = [
        parameter.replace(default=_Shown(parameter.default))
        if parameter.default is not parameter.empty
        else parameter
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=plain)).replace("'", "")


class _Shown:
    """A default, without addresses of objects."""

    def __init__(self, value: object) -> None:
        self.text = repr(value) if isinstance(value, str | int | float | tuple | None) else "..."

    def __repr__(self) -> str:
        return self.text


def test_the_public_api_is_what_it_was() -> None:
    assert public_api() == SNAPSHOT.read_text(encoding="utf-8"), __doc__


def test_the_contract_has_the_tests_that_it_had() -> None:
    """A test more may fail a backend that was right: only with a minor release."""
    names = SNAPSHOT.with_name("contract_tests.txt").read_text(encoding="utf-8").split()
    assert sorted(TESTS) == names, __doc__


if __name__ == "__main__":
    SNAPSHOT.write_text(public_api(), encoding="utf-8")
    tests = "\n".join(sorted(TESTS))
    SNAPSHOT.with_name("contract_tests.txt").write_text(f"{tests}\n", encoding="utf-8")
