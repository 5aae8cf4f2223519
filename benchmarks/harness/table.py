"""A run as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness.model import Figure, Mark, Row, Run


def show(run: Run) -> str:
    lines = [line for figure in run.figures for line in figure_lines(figure)]
    missed = [mark for mark in run.marks if not mark.reached]
    verdict = f"{len(run.marks) - len(missed)} of {len(run.marks)} marks reached"
    return "\n".join([*lines, verdict])


def figure_lines(figure: Figure) -> Iterator[str]:
    yield figure.title
    width = max((len(row.who) for row in figure.rows), default=0)
    for row in figure.rows:
        yield f"  {row.role:5}  {row.who:{width}}  {spread(row)}{remark(row)}"
    for mark in figure.marks:
        yield f"  {'ok  ' if mark.reached else 'MISS'}   {judged(mark)}"
        if mark.reason and not mark.reached:
            yield f"         {mark.reason}"
    for note in figure.notes:
        yield f"  note   {note}"
    yield ""


def spread(row: Row) -> str:
    return f"{number(row.median):>9} {row.unit}  ({number(row.low)} to {number(row.high)})"


def remark(row: Row) -> str:
    return f"  {row.remark}" if row.remark else ""


def judged(mark: Mark) -> str:
    return f"{mark.what}: {number(mark.ratio)} {mark.bound} {number(mark.limit)}"


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
