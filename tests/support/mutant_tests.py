"""A plugin of pytest for `tests/mutants.py`: which test runs which lines, and a choice of tests.

With `PRX_MUTANTS_MAP` (a folder), records lines and durations there. With `PRX_MUTANTS_CHOICE` (a
file), runs the tests that it names, in its order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

if "PRX_MUTANTS_MAP" in os.environ:
    folder = os.environ["PRX_MUTANTS_MAP"]
    WORKER = os.environ.get("PYTEST_XDIST_WORKER", "all")
    durations: dict[str, float] = {}
    measured = coverage.Coverage(
        data_file=f"{folder}/{WORKER}.coverage",
        config_file=False,
        include=["prx_tunnel_core/*", "plugins/*/prx_*/*"],
        concurrency=["thread"],
    )
    measured.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
        measured.switch_context(item.nodeid)
        result = yield
        measured.switch_context("")
        return result

    def pytest_runtest_logreport(report: pytest.TestReport) -> None:
        durations[report.nodeid] = durations.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish() -> None:
        measured.stop()
        measured.save()
        Path(folder, f"{WORKER}.json").write_text(json.dumps(durations))


if "PRX_MUTANTS_CHOICE" in os.environ:
    choice = os.environ["PRX_MUTANTS_CHOICE"]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        order = {name: at for at, name in enumerate(Path(choice).read_text().splitlines())}
        items[:] = sorted(
            (item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid]
        )
