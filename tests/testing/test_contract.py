"""A contract cannot be weakened without a reason, and says what it lacks."""

from __future__ import annotations

from typing import Any

import pytest

from prx_tunnel_core.testing import BackendContract
from prx_tunnel_core.testing._contract import TESTS, weakened
from support.wrong_backends import Config, Plugin, memory

pytest_plugins = ("pytester",)


def subclass(**body: Any) -> type[BackendContract]:
    return type("TestMine", (BackendContract,), body)


def replacement(self: BackendContract) -> None:
    """Passes, whatever the backend does."""


@pytest.mark.parametrize("value", [replacement, None, 3])
def test_an_override_without_a_reason_is_an_error(value: object) -> None:
    with pytest.raises(TypeError, match="TestMine weakens its contract: test_it_comes_up is not"):
        subclass(test_it_comes_up=value)


def test_an_override_with_a_reason_is_none() -> None:
    waived = {"test_it_comes_up": "its URL is local, for it is a mock"}
    assert not weakened(subclass(test_it_comes_up=replacement, waived=waived))


@pytest.mark.parametrize(
    ("waived", "problem"),
    [
        ({"test_it_comes_up": " "}, "`waived` gives no reason for test_it_comes_up"),
        ({"test_it_comes_down": "because"}, "names test_it_comes_down, which is no test"),
        ({"test_it_comes_up": ""}, "test_it_comes_up"),
    ],
)
def test_a_waiver_needs_a_test_and_a_reason(waived: dict[str, str], problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        subclass(waived=waived)


@pytest.mark.parametrize("name", ["in_time", "opened", "scripted", "hurry", "_waived", "backend"])
def test_what_the_tests_stand_on_cannot_be_replaced_at_all(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is not the kit's; choose another name"):
        subclass(**{name: replacement, "waived": {"test_it_comes_up": "because"}})


def test_what_is_to_be_set_can_be_set() -> None:
    body = {"far_end": replacement, "settings": {}, "patience": 1.0, "runs_program": False}
    assert not weakened(subclass(**body, own_helper=replacement))


def test_even_the_guard_cannot_be_replaced() -> None:
    with pytest.raises(TypeError, match="test_the_contract_is_whole is not the kit's"):
        subclass(test_the_contract_is_whole=replacement)


def test_what_is_replaced_later_fails_in_the_run() -> None:
    made = subclass()
    made.test_it_comes_up = replacement  # type: ignore[assignment, method-assign]
    with pytest.raises(AssertionError):
        made().test_the_contract_is_whole()


def test_subclasses_of_subclasses_are_looked_at_too() -> None:
    with pytest.raises(TypeError, match="test_nothing_is_left"):
        type("TestOther", (subclass(),), {"test_nothing_is_left": None})


def test_a_waived_test_is_skipped_with_its_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        from prx_tunnel_core.testing import BackendContract
        from support.wrong_backends import Config, Plugin, memory
        from prx_tunnel_core import Backend

        class TestMine(BackendContract):
            plugin = Plugin(Backend(name="mine", summary="", config=Config, connect=memory))
            runs_program = False
            waived = {"test_the_plugin_provides_the_backend": "it has no summary"}
    """)
    result = pytester.runpytest("-rs", "-k", "provides_the_backend or wrong_settings")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*waived: it has no summary*"])


def test_every_test_says_in_its_name_what_holds() -> None:
    assert len(TESTS) > 20
    assert all(len(name.split("_")) >= 4 for name in TESTS), TESTS


def test_secrets_that_are_not_set_are_missed() -> None:
    from pydantic import SecretStr

    from prx_tunnel_core import Backend

    class Optional(Config):
        token: SecretStr | None = None

    backend = Backend(name="mine", summary="mine", config=Optional, connect=memory)
    with pytest.raises(AssertionError, match=r"has to hold a secret \(token\)"):
        subclass(plugin=Plugin(backend))().secrets()
