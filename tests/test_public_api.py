"""What others build on, as text: when this test fails, somebody's program may break.

If that is meant: `python tests/test_public_api.py` writes the new text; a removal or a change of
meaning also moves the upper bound of every plugin: `python .ci/version.py`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pluggy
from pydantic import BaseModel

import prx_tunnel_core
from prx_tunnel_core import blocking, testing
from prx_tunnel_core.hookspecs import TunnelSpecs
from prx_tunnel_core.testing._contract import TESTS

SNAPSHOT = Path(__file__).with_name("snapshots") / "public_api.txt"
FOREIGN = ("pydantic", "builtins", "typing", "abc")


def public_api() -> str:
    lines: list[str] = []
    for name in sorted(prx_tunnel_core.__all__):
        lines += described(name, getattr(prx_tunnel_core, name))
    for name in sorted(vars(TunnelSpecs)):
        if name.startswith("prx_tunnel"):
            lines += described(f"hook {name}", getattr(TunnelSpecs, name))
    lines += described("class Tunnel.__init__", prx_tunnel_core.Tunnel.__init__)
    for name in sorted(blocking.__all__):
        lines += described(f"blocking.{name}", getattr(blocking, name))
    for name in sorted(testing.__all__):
        lines += described(f"testing.{name}", getattr(testing, name))
    return "\n".join(lines) + "\n"


def described(name: str, value: object) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"{_function(name, value)}"
        return
    bases = [base.__name__ for base in value.__bases__ if base is not object]
    yield f"class {name}({', '.join(bases)})"
    yield from sorted(f"    {line}" for line in _members(value))


def _members(kind: type[Any]) -> Iterator[str]:
    for owner in kind.__mro__:
        if owner.__module__.split(".")[0] not in FOREIGN:
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
            yield f"{name}: {annotation}{' = ...' if name in optional else ''}"


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
    if not callable(value):
        return f" = {value!r}"
    if isinstance(value, pluggy.HookimplMarker | pluggy.HookspecMarker):
        return f" = {type(value).__name__}({value.project_name!r})"
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
