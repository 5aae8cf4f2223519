"""The measured part of docs/performance.md, made anew from the JSON of a run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from benchmarks.harness.environments import ROOT
from benchmarks.harness.model import Figure, Row, Run
from benchmarks.harness.plot import plot
from benchmarks.harness.table import judged, number

PAGE = ROOT / "docs" / "performance.md"
PLOTS = "performance"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write(run: Run, page: Path = PAGE) -> None:
    """Put the figures of the run between the markers of the page, and its plots beside it."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    folder = page.parent / PLOTS
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    body = "\n".join([*_machine(run), *_figures(run, folder)])
    page.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", encoding="utf-8")


def _machine(run: Run) -> Iterator[str]:
    said = "; ".join(f"{key}: {value}" for key, value in run.machine.items())
    yield f"*{'Quick run' if run.quick else 'Full run'}. {said}.*"
    yield ""
    missed = [(figure, mark) for figure in run.figures for mark in figure.marks if not mark.reached]
    yield f"{len(run.marks) - len(missed)} of {len(run.marks)} marks are reached."
    if missed:
        yield "\nWhere we lose:\n"
    for figure, mark in missed:
        reason = f" {mark.reason}" if mark.reason else ""
        yield f"- [{figure.title}](#{_anchor(figure)}): {judged(mark)}.{reason}"
    yield ""


def _figures(run: Run, folder: Path) -> Iterator[str]:
    for figure in run.figures:
        yield from (f"### {figure.title}", "")
        yield from ("| who | | median | quartiles | |", "|---|---|---|---|---|")
        yield from map(_line, figure.rows)
        yield ""
        for mark in figure.marks:
            yield f"- {'reached' if mark.reached else '**missed**'}: {judged(mark)}"
            if mark.reason and not mark.reached:
                yield f"  ({mark.reason})"
        yield from (f"- {note}" for note in figure.notes)
        yield ""
        yield from _plots(figure, folder)


def _line(row: Row) -> str:
    quartiles = f"{number(row.low)} to {number(row.high)}"
    return (
        f"| {row.who} | {row.role} | {number(row.median)} {row.unit} | {quartiles} | {row.remark} |"
    )


def _plots(figure: Figure, folder: Path) -> Iterator[str]:
    """One for each unit, for bars of different units say nothing beside one another."""
    for at, (unit, rows) in enumerate(groupby(figure.rows, lambda row: row.unit)):
        same = list(rows)
        if len(same) < 2:
            continue
        name = f"{figure.name}-{at + 1}.svg"
        (folder / name).write_text(plot(figure, same), encoding="utf-8")
        yield from (f"![{figure.title}, {unit}]({PLOTS}/{name})", "")


def _anchor(figure: Figure) -> str:
    kept = "".join(c for c in figure.title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")
