"""What a run yields."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Role = Literal["ours", "peer", "floor"]
Bound = Literal["<=", ">="]


@dataclass(frozen=True)
class Row:
    """One subject, measured: the median, and the quartiles around it."""

    who: str
    role: Role
    unit: str
    median: float
    low: float
    high: float
    count: int
    remark: str = ""


@dataclass(frozen=True)
class Mark:
    """A ratio to something of the same run, and the bound that it is held to."""

    what: str
    ratio: float
    bound: Bound
    limit: float
    reason: str = ""
    """Where the bound cannot be reached: why, and what the floor is."""
    floor: float | None = None
    """The ratio that the floor itself has in this run."""

    @property
    def excess(self) -> float:
        """How many times worse than its bound; 1 and below is well."""
        return self._excess_over(self.limit)

    @property
    def excess_over_floor(self) -> float:
        """The same over the floor, where not even that reaches the bound."""
        if self.floor is None:
            return self.excess
        return min(self.excess, self._excess_over(self.floor))

    def _excess_over(self, limit: float) -> float:
        if self.bound == "<=":
            return self.ratio / limit if limit else float(self.ratio > 0) * 1e9
        return limit / self.ratio if self.ratio > 0 else 1e9

    @property
    def reached(self) -> bool:
        return self.excess <= 1


@dataclass
class Figure:
    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Run:
    """Everything of one run; `machine` says on what and beside what load it was made."""

    machine: dict[str, str]
    quick: bool
    figures: list[Figure] = field(default_factory=list)

    @property
    def marks(self) -> list[Mark]:
        return [mark for figure in self.figures for mark in figure.marks]

    def to_json(self) -> dict[str, Any]:
        wire = asdict(self)
        for figure, shown in zip(self.figures, wire["figures"], strict=True):
            for mark, each in zip(figure.marks, shown["marks"], strict=True):
                each["reached"] = mark.reached
        return wire

    @classmethod
    def from_json(cls, wire: dict[str, Any]) -> Run:
        return cls(wire["machine"], wire["quick"], [_figure(each) for each in wire["figures"]])


def _figure(wire: dict[str, Any]) -> Figure:
    marks = [{k: v for k, v in mark.items() if k != "reached"} for mark in wire["marks"]]
    return Figure(
        wire["name"],
        wire["title"],
        [Row(**row) for row in wire["rows"]],
        [Mark(**mark) for mark in marks],
        wire["notes"],
    )
