"""Bars as SVG: one for each row, with its quartiles; readable on light and on dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.harness.model import Figure, Row
from benchmarks.harness.table import number

_COLOURS = {"ours": "#2f7ed8", "peer": "#d98a2b", "floor": "#8a8f98"}
_TEXT, _LABEL, _WIDTH, _LINE = "#808890", 300, 760, 24
_BAR = _WIDTH - _LABEL - 110


def plot(figure: Figure, rows: Sequence[Row]) -> str:
    """The rows, which have one unit, as a drawing."""
    largest = max((row.high for row in rows), default=0) or 1
    height = _LINE * len(rows) + 12
    bars = [part for at, row in enumerate(rows) for part in _bar(row, _LINE * at + 6, largest)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"',
            f'  font-family="sans-serif" font-size="12" fill="{_TEXT}">',
            f"<title>{escape(figure.title)}</title>",
            *bars,
            "</svg>\n",
        ]
    )


def _bar(row: Row, top: int, largest: float) -> Iterator[str]:
    def across(value: float) -> str:
        return f"{_LABEL + _BAR * value / largest:.1f}"

    middle, length = top + 11, max(_BAR * row.median / largest, 1)
    yield f'<text x="{_LABEL - 8}" y="{middle + 4}" text-anchor="end">{escape(row.who)}</text>'
    yield (
        f'<rect x="{_LABEL}" y="{top + 3}" width="{length:.1f}" height="16" rx="2" '
        f'fill="{_COLOURS[row.role]}"/>'
    )
    yield (
        f'<path d="M{across(row.low)} {middle}H{across(row.high)}" stroke="{_TEXT}" '
        'stroke-width="2"/>'
    )
    end = _LABEL + _BAR * max(row.high, row.median) / largest + 6
    yield f'<text x="{end:.1f}" y="{middle + 4}">{number(row.median)} {escape(row.unit)}</text>'
