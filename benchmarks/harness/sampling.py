"""Medians with spread. What is compared is interleaved, so that a busy minute hits all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.harness.model import Role, Row

Sample = Callable[[], float]


def interleaved(
    subjects: Mapping[str, Sample], rounds: int, *, warm_up: int = 1
) -> dict[str, list[float]]:
    """Each subject once a round; the first rounds fill caches and are not counted."""
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(warm_up + rounds):
        for name, sample in subjects.items():
            value = sample()
            if number >= warm_up:
                found[name].append(value)
    return found


def row(
    who: str, role: Role, unit: str, values: Sequence[float], *, scale: float = 1, remark: str = ""
) -> Row:
    """The values, each times `scale`, as their median and quartiles."""
    scaled = sorted(value * scale for value in values)
    low, high = quartiles(scaled)
    return Row(who, role, unit, statistics.median(scaled), low, high, len(scaled), remark)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
