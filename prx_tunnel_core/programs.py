"""What backends that drive a program have in common.

time_left         how long a step of connecting may take
while_running     do something for as long as the program runs
run_command       run a command that ends by itself
program_version   ask a program for its version
compile_pattern   compile a user's regular expression
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import anyio

from prx_tunnel_core.errors import ConnectError, SetupError, unwrap_group
from prx_tunnel_core.process import TunnelProcess, open_process

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = [
    "CommandOutput",
    "Match",
    "Pattern",
    "Version",
    "compile_pattern",
    "program_version",
    "run_command",
    "time_left",
    "while_running",
]

T = TypeVar("T")

SHARE = 0.9
LARGEST_OUTPUT = 4 * 1024 * 1024  # characters
SHOWN = 500  # characters of a command's output in an error

_NO_ENV: Mapping[str, str] = MappingProxyType({})
_NUMBERS = re.compile(r"\s*v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?![\d.])")


def time_left(at_most: float = math.inf) -> float:
    """Seconds that a step of connecting may take: `at_most`, or nine tenths of what is left.

    Core cancels an attempt when its `connect_timeout` is over, and can then only report that it
    took too long. A step that ends earlier leaves time to raise an error that gives the reason.
    """
    left = anyio.current_effective_deadline() - anyio.current_time()
    return max(0.0, min(at_most, SHARE * left))


async def while_running(process: TunnelProcess, work: Callable[[], Awaitable[T]]) -> T | None:
    """Return what `work` returns; cancel it and return None when the program ends first."""
    result: T | None = None
    with unwrap_group():
        async with anyio.create_task_group() as tasks:

            async def stop_at_end() -> None:
                await process.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(stop_at_end)
            result = await work()
            tasks.cancel_scope.cancel()
    return result


@dataclass(frozen=True, slots=True)
class CommandOutput:
    returncode: int
    lines: tuple[str, ...] = field(repr=False)
    """Both streams, without escapes and secrets."""

    @property
    def summary(self) -> str:
        """The output on one line, shortened, for an error."""
        said = " | ".join(line.strip() for line in self.lines if line.strip())
        return said[:SHOWN] or "nothing"


class _NoAnswer(ConnectError):
    """The command did not end in time."""


async def run_command(
    command: Sequence[str],
    *,
    env: Mapping[str, str | SecretStr] = _NO_ENV,
    secrets: Iterable[str] = (),
    patience: float = 10.0,
) -> CommandOutput:
    """Run a command that prints something and ends.

    Raises ConnectError when it has not ended within `patience` seconds, or within `time_left`;
    besides, what `open_process` raises.
    """
    lines: list[str] = []
    size = 0

    def collect(line: str) -> None:
        nonlocal size
        size += len(line)
        if size <= LARGEST_OUTPUT:
            lines.append(line)

    patience = time_left(patience)
    async with open_process(
        command, env=env, secrets=secrets, on_line=collect, grace=1.0
    ) as process:
        with anyio.move_on_after(patience):
            return CommandOutput(await process.wait(), tuple(lines))
        # Raised in here: ending the process may outlast the attempt.
        asked = shlex.join(command[1:])
        raise _NoAnswer(f"{command[0]} did not answer `{asked}` within {round(patience, 1):g} s")


@dataclass(frozen=True, slots=True, order=True)
class Version:
    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The number at the beginning of `1.96.0-t1234 …`; None when there is none."""
        match = _NUMBERS.match(text)
        return match and cls(int(match[1]), int(match[2]), int(match[3] or 0))


async def program_version(
    command: Sequence[str],
    *,
    name: str,
    prefix: str,
    minimum: Version,
    fix: str,
    env: Mapping[str, str | SecretStr] = _NO_ENV,
    patience: float = 10.0,
) -> Version:
    """Ask a program for its version, such as `["/usr/bin/bore", "--version"]`.

    `prefix` is what precedes the number on its line. Raises SetupError, with `fix` as the advice,
    when no line has it or the version is older than `minimum`; ConnectError when the program does
    not answer within `patience` seconds.
    """
    path = command[0]
    try:
        output = await run_command(command, env=env, patience=patience)
    except _NoAnswer as error:
        raise ConnectError(f"{error}; check that it is {name}") from None
    lines = (line.strip() for line in output.lines)
    numbers = (line.removeprefix(prefix) for line in lines if line.startswith(prefix))
    version = next(filter(None, map(Version.parse, numbers)), None)
    if version is None:
        asked = shlex.join(command[1:])
        raise SetupError(f"{path} is not {name}: `{asked}` printed {output.summary}; {fix}")
    if version < minimum:
        raise SetupError(f"{path} is {name} {version}, but {minimum} or newer is required; {fix}")
    return version


class Match(Protocol):
    def group(self, number: int, /) -> str: ...
    def end(self, number: int, /) -> int: ...


class Pattern(Protocol):
    @property
    def groups(self) -> int: ...
    def search(self, text: str, /) -> Match | None: ...
    def finditer(self, text: str, /) -> Iterator[Match]: ...


def compile_pattern(text: str) -> Pattern:
    r"""Compile a user's regular expression whose first group is the text to find.

    RE2 matches in linear time, so that no line, which a visitor may have written, can stall the
    event loop. A backend that calls this depends on `prx-tunnel-core[patterns]`.

    Raises ValueError, with the fix, when the pattern is invalid, has no group or matches the empty
    string.
    """
    try:
        import re2  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError:
        raise SetupError(
            "regular expressions need google-re2, which is not installed; run: "
            "pip install 'prx-tunnel-core[patterns]'"
        ) from None
    options = re2.Options()
    options.log_errors = False
    try:
        pattern: Pattern = re2.compile(text, options=options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace")
        raise ValueError(
            f"not a regular expression (RE2 syntax, without look-around): {reason}; "
            "write \\( for a literal parenthesis"
        ) from None
    if not pattern.groups:
        raise ValueError("it has no group; put parentheses around the part to find: …(…)")
    if pattern.search("") is not None:
        raise ValueError("it matches an empty line, and so any line; add text that is printed")
    return pattern
