"""All tests of the contract, and what keeps a subclass from dropping some of them in silence."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import pytest

from prx_tunnel_core.testing._description import Description
from prx_tunnel_core.testing._failing import Failing
from prx_tunnel_core.testing._footprint import Footprint
from prx_tunnel_core.testing._living import Living
from prx_tunnel_core.testing._opening import Opening
from prx_tunnel_core.testing._secrets import Secrets


class BackendContract(Description, Opening, Failing, Living, Footprint, Secrets):
    """What every backend has to do. Subclass it, and say of `Kit`'s attributes what applies."""

    pytestmark: ClassVar[Any] = pytest.mark.anyio

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        problems = weakened(cls)
        if problems:
            raise TypeError(f"{cls.__name__} weakens its contract: {'; '.join(problems)}")

    def test_the_contract_is_whole(self) -> None:
        """Asked again, for a class can be changed after it was made."""
        assert not weakened(type(self))


_KITS = BackendContract.__mro__[:-1]
_NAMES = {name for kit in _KITS for name in vars(kit) if not name.startswith("__")}
TESTS = frozenset(name for name in _NAMES if name.startswith("test_"))
_TO_BE_SET = {"far_end"}.union(*map(inspect.get_annotations, _KITS))
_MACHINERY = _NAMES - TESTS - _TO_BE_SET


def _own(name: str) -> object:
    """As it stands in the class: a fixture is another object each time that it is asked for."""
    return inspect.getattr_static(BackendContract, name)


def weakened(contract: type[BackendContract]) -> list[str]:
    """What a subclass has overridden, removed or waived without saying why."""
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
