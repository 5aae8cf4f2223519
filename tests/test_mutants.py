"""The changes that `tests/mutants.py` makes: each kind, nothing else, and the same for a seed."""

from __future__ import annotations

from pathlib import Path

import mutants
import pytest

from support.mutators import Mutant, sample

CHANGES = {
    "x = 30": {"x = 31", "x = 15"},
    "x = 0.5": {"x = 1.0", "x = 0.25"},
    "x = True": {"x = False"},
    "x = 'key'": {"x = 'keyx'"},
    "x = 'two words'": set(),
    "x = f'{a} b'": set(),
    "x = (a, b)": {"x = ((b,))", "x = ((a,))"},
    "x = {'k k': a}": {"x = ({})"},
    "x = a < b": {"x = (a <= b)"},
    "x = a and b": {"x = (a or b)", "x = (b)", "x = (a)"},
    "x = a + b": {"x = (a - b)"},
    "x = not a": {"x = (a)"},
    "x = f(a, b, k=c)": {"x = (f(b, a, k=c))", "x = (f(a, b))"},
    "x = f(help='two words', k=c)": {"x = (f(help='two words'))"},
    "x = f(metavar='N')": set(),
    "x = hmac.compare_digest(a, b)": set(),
    "anyio.run(a, backend='asyncio')": {"pass", "anyio.run(a, backend='asynciox')"},
    "x = cast('T', 2)": {"x = cast('T', 3)"},
    "T = TypeVar('T', bound=int)": set(),
    "x = min(a, b)": {"x = (max(a, b))"},
    "x = a if b else c": {"x = (a)", "x = (c)", "x = a if (not (b)) else c"},
    "x = [a for a in b if c]": {"x = [a for a in b if (not (c))]"},
    "x.y = a": {"pass"},
    "f(a)": {"pass"},
    "await_ += a": {"pass"},
    "if a:\n    raise b": {"if (not (a)):\n    raise b", "if a:\n    pass"},
    "x: Annotated[int, Field(le=2)] = a": {
        "x: Annotated[int, Field(le=3)] = a",
        "x: Annotated[int, (Field())] = a",
    },
    "x: Literal['a', 'b'] = a": set(),
    "'''A docstring.'''": set(),
    "__all__ = ['a', 'b']": set(),
    "if TYPE_CHECKING:\n    f(1)": set(),
    "if sys.platform == 'win32':\n    f(1)": set(),
}


def changed(root: Path, source: str) -> set[str]:
    (root / "core").mkdir()
    (root / "core" / "module.py").write_text(f"{source}\n")
    return {each.source(root).strip() for each in sample(root, ["core"], 1, 100)}


@pytest.mark.parametrize(("source", "expected"), CHANGES.items(), ids=CHANGES)
def test_each_kind_of_a_change(tmp_path: Path, source: str, expected: set[str]) -> None:
    assert changed(tmp_path, source) == expected


def test_a_seed_always_makes_the_same_ones() -> None:
    folders = ["prx_tunnel_core/_health"]
    made = [sample(mutants.ROOT, folders, seed, 20) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    for mutant in made[0]:
        assert mutant.source(mutants.ROOT) != (mutants.ROOT / mutant.module).read_text()


def test_what_is_closest_imports_the_module_and_speaks_of_the_place() -> None:
    module = "prx_tunnel_core/text.py"
    lines = (mutants.ROOT / module).read_text().splitlines()
    (line,) = [at for at, text in enumerate(lines, start=1) if text.startswith("def printable(")]
    mutant = Mutant(module, line + 1, 0, 0, "")
    assert mutant.inside(mutants.ROOT) == "printable"
    assert "tests/test_text.py" in mutants.closest_to(mutant)[:3]
    assert "tests/test_text.py" in mutants.subject_of(mutant)


def test_what_is_closest_to_a_name_that_many_files_have_is_named_after_its_folder() -> None:
    module = "prx_tunnel_core/_cli/agent/run.py"
    lines = (mutants.ROOT / module).read_text().splitlines()
    (line,) = [at for at, text in enumerate(lines, start=1) if text.startswith("    def write(")]
    mutant = Mutant(module, line + 1, 0, 0, "")
    assert mutant.inside(mutants.ROOT) == "write"
    assert "tests/cli/test_agent.py" in mutants.closest_to(mutant)[: mutants.CLOSEST]


def test_the_subject_of_a_plugin_is_all_of_its_tests() -> None:
    mutant = Mutant("plugins/custom/prx_tunnel_custom/config.py", 1, 0, 0, "")
    assert set(mutants.subject_of(mutant)) == {
        path.relative_to(mutants.ROOT).as_posix()
        for path in (mutants.ROOT / "plugins/custom/tests").glob("test_*.py")
    }
