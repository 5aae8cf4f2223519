"""The contract, and the check that a subclass drops no test of it without a reason."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import pytest

from prx_tunnel_core.testing._lifecycle import Lifecycle
from prx_tunnel_core.testing._safety import Safety


class BackendContract(Lifecycle, Safety):
    """What every backend has to do, as tests.

        class TestBore(BackendContract):
            plugin = prx_tunnel_bore
            announces = ["listening at bore.pub:41234"]

    Set the attributes of `Kit` that apply. Defining a subclass raises TypeError when it overrides a
    test that `waived` does not give a reason for.
    """

    pytestmark: ClassVar[Any] = pytest.mark.anyio

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        problems = weakened(cls)
        if problems:
            raise TypeError(f"{cls.__name__} weakens its contract: {'; '.join(problems)}")

    def test_the_contract_is_whole(self) -> None:
        """Checked again, as a class can be changed after it was defined."""
        assert not weakened(type(self))


_KITS = BackendContract.__mro__[:-1]
_NAMES = {name for kit in _KITS for name in vars(kit) if not name.startswith("__")}
TESTS = frozenset(name for name in _NAMES if name.startswith("test_"))
_TO_BE_SET = {"far_end"}.union(*map(inspect.get_annotations, _KITS))
_MACHINERY = _NAMES - TESTS - _TO_BE_SET


def _own(name: str) -> object:
    """As defined in the class: attribute access makes a new object for each fixture."""
    return inspect.getattr_static(BackendContract, name)


def weakened(contract: type[BackendContract]) -> list[str]:
    """What a subclass has overridden, removed or waived without a reason."""
    changed = [
        name
        for name in sorted(TESTS | _MACHINERY)
        if inspect.getattr_static(contract, name) is not _own(name)
    ]
    problems = [
        f"{name} is not the kit's; "
        f"{'name it in `waived`, with the reason' if name in TESTS else 'choose another name'}"
        for name in changed
        if name not in TESTS or name not in contract.waived
    ]
    for name, reason in contract.waived.items():
        if name not in TESTS:
            problems.append(f"`waived` names {name}, which is no test of the contract")
        elif not reason.strip():
            problems.append(f"`waived` gives no reason for {name}")
    return problems
