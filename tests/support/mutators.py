"""All the small changes that can be made to a module, each of which some test should notice.

Ours rather than a library's: `mutmut` changes functions only, so no list or bound of a module, and
`cosmic-ray` removes neither statements nor entries; both run the same tests for every change.

No change is made where none can be noticed, or should be:

- types (annotations, `cast()`, the name of a `TypeVar`), and what runs on another system only,
- prose, which is any text with a space in it, and an argument that is nothing else (`help="…"`,
  `metavar="N"`): a test that compares every wording would only keep it from getting better,
- an argument that is the library's default anyway (`_DEFAULTS`), and the order of two arguments
  where it does not matter (`compare_digest()`),
- `__all__`: mypy and the snapshot of the public API have every name of it.
"""

from __future__ import annotations

import ast
import copy
import itertools
import random
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip
_OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_IN_ANY_ORDER = {*_OPPOSITES, "compare_digest"}
_DEFAULTS = {
    ("run", "backend", "asyncio"),  # anyio
    ("run", "check", False),  # subprocess; ruff wants it written
}
_TYPING = {"cast", "TypeVar", "ParamSpec", "NewType", "TypedDict"}
_SYSTEMS = {"darwin", "win32", "linux"}


@dataclass(frozen=True)
class Mutant:
    module: str
    """Its path, from the root."""
    line: int
    begin: int
    """Where in the module's bytes what is changed begins; `end` is behind it."""
    end: int
    changed: str

    def source(self, root: Path, *, changed: bool = True) -> str:
        """Of the whole module."""
        raw = (root / self.module).read_bytes()
        if not changed:
            return raw.decode()
        return (raw[: self.begin] + self.changed.encode() + raw[self.end :]).decode()

    def inside(self, root: Path) -> str:
        """The innermost name around the place which tests may speak of; may be empty."""
        name = ""
        tree = ast.parse((root / self.module).read_bytes())
        for node in ast.walk(tree):  # outer ones come first
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                named = node.name
            elif isinstance(node, ast.Assign) and node in tree.body:
                named = ast.unparse(node.targets[0])
            else:
                continue
            assert node.end_lineno is not None
            if node.lineno <= self.line <= node.end_lineno and not named.startswith("_"):
                name = named
        return name

    def described(self, root: Path) -> str:
        before = _plain((root / self.module).read_bytes()[self.begin : self.end].decode())
        after = _plain(self.changed)
        same = _alike(before, after)
        rest = min(len(before), len(after)) - same
        alike = min(_alike(before[::-1], after[::-1]), rest)
        around = before[max(0, same - 30) : same], before[len(before) - alike :][:30]
        was, becomes = before[same : len(before) - alike], after[same : len(after) - alike]
        return f"{around[0]}[{_short(was)} -> {_short(becomes)}]{around[1]}"


def sample(root: Path, folders: Iterable[str], seed: int, number: int) -> list[Mutant]:
    """So many mutants of the modules in these folders; the same ones for the same seed."""
    found: list[Mutant] = []
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        found += _mutants_of(path.relative_to(root).as_posix(), path.read_text())
    random.Random(seed).shuffle(found)
    return list(itertools.islice((each for each in found if _is_valid(each, root)), number))


def _mutants_of(module: str, source: str) -> Iterator[Mutant]:
    starts = [0, *itertools.accumulate(map(len, source.encode().splitlines(keepends=True)))]
    for node, changed in _Walk(ast.parse(source)).found:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        yield Mutant(
            module,
            node.lineno,
            starts[node.lineno - 1] + node.col_offset,
            starts[node.end_lineno - 1] + node.end_col_offset,
            changed,
        )


def _is_valid(mutant: Mutant, root: Path) -> bool:
    try:
        compile(mutant.source(root), mutant.module, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return len(list(pairs))


def _plain(text: str) -> str:
    """As `ast` writes it, on one line."""
    try:
        text = ast.unparse(ast.parse(f"({text})", mode="eval"))
    except SyntaxError:
        text = ast.unparse(ast.parse(textwrap.dedent(text)))
    return " ".join(text.split())


def _short(text: str) -> str:
    return text if len(text) <= 150 else f"{text[:70]} … {text[-70:]}"


class _Walk:
    """Finds each place, and what is to stand there."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[tuple[ast.expr | ast.stmt, str]] = []
        self._body(tree.body)

    def _body(self, statements: list[ast.stmt]) -> None:
        for each in statements:
            is_docstring = isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
            is_all = isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "__all__"
            is_left_out = isinstance(each, ast.If) and _is_not_run(each.test)
            if is_docstring or is_all or is_left_out:
                continue
            self._remove(each)
            if isinstance(each, ast.If):
                self._negate(each.test)
            self._children(each)

    def _remove(self, each: ast.stmt) -> None:
        removable = isinstance(each, (ast.AugAssign, ast.Raise, ast.Continue, ast.Break)) or (
            isinstance(each, ast.Expr) and isinstance(each.value, (ast.Call, ast.Await))
        )
        if isinstance(each, ast.Assign):
            removable = all(isinstance(target, ast.Attribute) for target in each.targets)
        if removable and "NotImplementedError" not in ast.unparse(each):
            self.found.append((each, "pass"))

    def _negate(self, test: ast.expr) -> None:
        self.found.append((test, f"(not ({ast.unparse(test)}))"))

    def _children(self, node: ast.AST) -> None:
        if isinstance(node, ast.keyword) and node.arg == "metavar":
            return
        for name, value in ast.iter_fields(node):
            if name in ("returns", "type_params", "decorator_list"):
                continue
            if name == "annotation":
                self._bounds(value)
                continue
            values = value if isinstance(value, list) else [value]
            if values and all(isinstance(each, ast.stmt) for each in values):
                self._body(values)
                continue
            for each in values:
                if isinstance(each, ast.expr):
                    self._expression(each)
                elif isinstance(each, ast.AST):
                    self._children(each)

    def _expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.JoinedStr):  # before Python 3.12, its parts have no positions
            return
        if isinstance(node, ast.Subscript) and _is_type(node):
            self._bounds(node)
            return
        for changed in _changes(node):
            self.found.append((node, changed))
        if isinstance(node, ast.Call) and _name_of(node) in _TYPING:  # a type, then values
            for each in node.args[1:] if _name_of(node) == "cast" else ():
                self._expression(each)
            return
        self._children(node)
        for test in _tests_in(node):
            self._negate(test)

    def _bounds(self, annotation: ast.expr | None) -> None:
        """`Field(ge=1)` in an `Annotated` type is no type."""
        for node in ast.walk(annotation) if annotation else ():
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated":
                assert isinstance(node.slice, ast.Tuple)
                for each in node.slice.elts[1:]:
                    self._expression(each)


def _is_type(node: ast.Subscript) -> bool:
    name = ast.unparse(node.value).rsplit(".", 1)[-1]
    return name in {"list", "dict", "set", "frozenset", "tuple", "type"} or (
        name[:1].isupper() and not name.isupper()
    )


def _is_not_run(test: ast.expr) -> bool:
    text = ast.unparse(test)
    others = _SYSTEMS - {sys.platform}
    return "TYPE_CHECKING" in text or (
        "sys.platform ==" in text and any(repr(other) in text for other in others)
    )


def _tests_in(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.IfExp):
        yield node.test
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        for generator in node.generators:
            yield from generator.ifs


def _changes(node: ast.expr) -> Iterator[str]:
    change = _CHANGES.get(type(node))
    if change is not None:
        for changed in change(node):
            yield changed if isinstance(changed, str) else f"({ast.unparse(changed)})"


def _constant(node: ast.Constant) -> Iterator[str]:
    match node.value:
        case bool(value):
            yield str(not value)
        case int(value):
            yield str(value + 1)
            if value > 2:
                yield str(value // 2)
        case float(value):
            yield str(value * 2 or 1.0)
            yield str(value / 2 or 0.1)
        case str(value) if value and not _is_prose(value):
            yield repr(value + "x")
        case bytes(value) if value and not any(each in b" \n" for each in value):
            yield repr(value + b"x")


def _compare(node: ast.Compare) -> Iterator[ast.expr]:
    for number, each in enumerate(node.ops):
        changed = copy.copy(node)
        changed.ops = list(node.ops)
        changed.ops[number] = _COMPARISONS[type(each)]()
        yield changed


def _boolean(node: ast.BoolOp) -> Iterator[ast.expr]:
    yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    for number in range(len(node.values)):
        rest = [value for each, value in enumerate(node.values) if each != number]
        yield ast.BoolOp(node.op, rest) if len(rest) > 1 else rest[0]


def _arithmetic(node: ast.BinOp) -> Iterator[ast.expr]:
    if (other := _ARITHMETIC.get(type(node.op))) is not None:
        yield ast.BinOp(node.left, other(), node.right)


def _negation(node: ast.UnaryOp) -> Iterator[ast.expr]:
    if isinstance(node.op, ast.Not):
        yield node.operand


def _sequence(node: ast.Tuple | ast.List | ast.Set) -> Iterator[ast.expr]:
    loaded = isinstance(node, ast.Set) or isinstance(node.ctx, ast.Load)
    if loaded and len(node.elts) > 1:
        for number in range(len(node.elts)):
            changed = copy.copy(node)
            changed.elts = [each for other, each in enumerate(node.elts) if other != number]
            yield changed


def _mapping(node: ast.Dict) -> Iterator[ast.expr]:
    for number in range(len(node.keys)):
        yield ast.Dict(
            [key for each, key in enumerate(node.keys) if each != number],
            [value for each, value in enumerate(node.values) if each != number],
        )


def _call(node: ast.Call) -> Iterator[ast.expr]:
    name = _name_of(node)
    if name in _TYPING:
        return
    starred = any(isinstance(each, ast.Starred) for each in node.args)
    if len(node.args) > 1 and not starred and name not in _IN_ANY_ORDER:
        first, second, *rest = node.args
        yield ast.Call(node.func, [second, first, *rest], node.keywords)
    for number, keyword in enumerate(node.keywords):
        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if _is_prose(value) or keyword.arg == "metavar" or (name, keyword.arg, value) in _DEFAULTS:
            continue
        rest_of = [each for other, each in enumerate(node.keywords) if other != number]
        yield ast.Call(node.func, node.args, rest_of)
    if isinstance(node.func, ast.Name) and name in _OPPOSITES:
        yield ast.Call(ast.Name(_OPPOSITES[name]), node.args, node.keywords)


def _name_of(node: ast.Call) -> str:
    return ast.unparse(node.func).rsplit(".", 1)[-1]


def _is_prose(value: object) -> bool:
    return isinstance(value, str) and any(each.isspace() for each in value)


def _conditional(node: ast.IfExp) -> Iterator[ast.expr]:
    yield node.body
    yield node.orelse


_CHANGES: dict[type[ast.expr], Callable[..., Iterator[ast.expr | str]]] = {
    ast.Constant: _constant,
    ast.Compare: _compare,
    ast.BoolOp: _boolean,
    ast.BinOp: _arithmetic,
    ast.UnaryOp: _negation,
    ast.Tuple: _sequence,
    ast.List: _sequence,
    ast.Set: _sequence,
    ast.Dict: _mapping,
    ast.Call: _call,
    ast.IfExp: _conditional,
}
