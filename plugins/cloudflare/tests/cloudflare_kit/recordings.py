"""The recordings of the real program, read as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "recordings"

_LINE = re.compile(r"\[ *[0-9.]+\] ([EO])(?: ([^|]*))?\| (.*)")
_START = re.compile(r"\[ *[0-9.]+\] == START ?(.*?) ?\$ (.*)")
_EXIT = re.compile(r"\[ *[0-9.]+\] == EXIT ?(.*?) ?code=(-?[0-9]+) .*")
_SIGNAL = re.compile(r"\[ *[0-9.]+\] == SEND (SIG[A-Z0-9]+) to cloudflared ?\(?([^)]*)\)?")
_ANSWER = re.compile(
    r"\[ *[0-9.]+\] == GET (?:http://[0-9.:]+)?(/\w+) (?:->|changed to) (\d+) (.*)"
)


@dataclass(frozen=True)
class Line:
    stream: str
    """`O` for stdout, `E` for stderr."""
    text: str


@dataclass(frozen=True)
class Action:
    """Something that the recording's harness did: a signal, or a change at the fake edge."""

    name: str


@dataclass
class Run:
    """One run of the program."""

    recording: str
    label: str
    command: str
    events: list[Line | Action] = field(default_factory=list)
    answers: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """What the metrics server answered, by path."""
    exit_code: int | None = None

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Line)]

    def last_answer(self, path: str) -> Any:
        """The last JSON answer of status 200; None when there was none."""
        bodies = [body for status, body in self.answers.get(path, ()) if status == 200]
        return json.loads(bodies[-1]) if bodies else None


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def runs(name: str) -> list[Run]:
    """The runs that one recording holds, in their order."""
    return list(_read(name))


def _read(name: str) -> Iterator[Run]:
    latest: dict[str, Run] = {}
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8", errors="replace")
    for line in text.partition("\n# ----")[0].splitlines():
        if match := _START.fullmatch(line):
            label = _plain(match[1])
            latest[label] = Run(name, label, match[2])
            yield latest[label]
        elif latest:
            _note(latest, line)


def _note(latest: dict[str, Run], line: str) -> None:
    only = next(iter(latest.values()))
    if match := _LINE.fullmatch(line):
        latest.get(_plain(match[2] or ""), only).events.append(Line(match[1], match[3]))
    elif match := _EXIT.fullmatch(line):
        latest.get(_plain(match[1]), only).exit_code = int(match[2])
    elif match := _SIGNAL.fullmatch(line):
        latest.get(_plain(match[2]), only).events.append(Action(match[1]))
    elif match := _ANSWER.fullmatch(line):
        newest = list(latest.values())[-1]
        newest.answers.setdefault(match[1], []).append((int(match[2]), match[3]))
    elif " == EDGE CONTROL " in line or " == config push" in line:
        only.events.append(Action("edge"))


def _plain(label: str) -> str:
    return label.strip().strip("()[]#").strip()
