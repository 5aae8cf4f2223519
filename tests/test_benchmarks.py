"""The benchmark harness: it measures, judges and shows; what it finds is no test's business."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def test_a_figure_is_measured_and_survives_its_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.harness import bench, cli
    from benchmarks.harness.model import Run

    monkeypatch.setattr(bench.Bench, "rounds", lambda *_: 2)
    run = cli.measure(["child_death"], quick=True)
    (figure,) = run.figures
    assert [(row.role, row.count) for row in figure.rows] == [("ours", 2), ("floor", 2)]
    assert all(0 < row.low <= row.median <= row.high for row in figure.rows)
    ours, floor = figure.rows
    assert figure.marks[0].ratio == pytest.approx(ours.median / floor.median)
    file = tmp_path / "run.json"
    file.write_text(json.dumps(run.to_json()))
    assert Run.from_json(json.loads(file.read_text())) == run


@pytest.mark.parametrize(
    ("ratio", "bound", "limit", "excess"),
    [(1, "<=", 2, 0.5), (3, "<=", 2, 1.5), (0.2, ">=", 0.4, 2), (0.8, ">=", 0.4, 0.5),
     (0, "<=", 0, 0)],
)  # fmt: skip
def test_a_mark_says_how_many_times_worse_than_its_bound(
    ratio: float, bound: str, limit: float, excess: float
) -> None:
    from benchmarks.harness.model import Mark

    mark = Mark("what", ratio, bound, limit)  # type: ignore[arg-type]
    assert mark.excess == pytest.approx(excess)
    assert mark.reached is (excess <= 1)


def test_where_nothing_is_allowed_anything_is_too_much() -> None:
    from benchmarks.harness.model import Mark

    assert not Mark("what", 0.01, "<=", 0).reached


def test_the_page_is_made_anew_from_a_run(tmp_path: Path) -> None:
    from benchmarks.harness import pages
    from benchmarks.harness.model import Figure, Mark, Row, Run

    rows = [Row("a & b", "ours", "ms", 2, 1, 3, 5), Row("bare", "floor", "ms", 1, 1, 1, 5)]
    marks = [Mark("times bare", 2, "<=", 1, "a reason")]
    run = Run({"cores": "2"}, quick=False, figures=[Figure("a", "A figure", rows, marks)])
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{pages.BEGIN}\nold\n{pages.END}\nafter\n")
    pages.write(run, page)
    first = page.read_text()
    pages.write(run, page)
    assert page.read_text() == first
    assert first.startswith("before\n")
    assert first.endswith("after\n")
    assert "old" not in first
    assert "times bare: 2 <= 1. a reason" in first
    (plot,) = (tmp_path / "performance").iterdir()
    assert "a &amp; b" in plot.read_text()


def test_peers_are_left_out_where_they_could_reach_a_network(tmp_path: Path) -> None:
    from benchmarks.harness.bench import Bench

    assert Bench(tmp_path, quick=True, peers=False).peers("pyngrok") == []
    assert Bench(tmp_path, quick=True, peers=True).peers("pyngrok") == ["pyngrok"]
