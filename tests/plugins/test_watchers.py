from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core._supervisor.observers import notify
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.models import Idle, Stopped
from support.distributions import HEADER, Site, backend, listed, observer


async def tell(plugins: PluginRegistry, tunnel: str) -> None:
    arguments = {"tunnel": tunnel, "old": Idle(), "new": Stopped()}
    await notify(plugins.loaded(), "prx_tunnel_status_changed", arguments)


# --- observers and watchers --------------------------------------------------------------------


def test_an_observer_is_chosen_by_its_table(site: Site) -> None:
    site.plugin("notify", observer("notify"))
    site.plugin("other", observer("other"))
    plugins = PluginRegistry()
    tables = {"gateway": {"port": 1}, "notify": {}, "other": "not a table"}
    assert [chosen.name for chosen in plugins.observers(tables)] == ["notify"]
    assert plugins.problems == []
    assert listed("notify").kind == "observer"
    assert listed("notify").summary == "the notify"


def test_an_observer_that_is_broken_is_a_problem_and_no_error(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.plugin("broken", "1 / 0")
    site.plugin("alpha", observer("beta"))
    site.plugin("notify", observer("notify"))
    plugins = PluginRegistry()
    for _ in range(2):
        chosen = plugins.observers({"broken": {}, "alpha": {}, "notify": {}})
        assert [observer.name for observer in chosen] == ["notify"]
    broken, misnamed = plugins.problems
    assert broken.startswith("[broken]: prx-tunnel-broken 1.0: ")
    assert misnamed.startswith("[alpha]: prx-tunnel-alpha 1.0: provides no observer 'alpha'")
    assert caplog.text.count("ZeroDivisionError") == 1


def test_n11_the_table_of_a_backend_belongs_below_tunnel(site: Site) -> None:
    site.plugin("alpha", backend("alpha"))
    with pytest.raises(ConfigError, match=r"^\[alpha\]: .* write \[tunnel\.alpha\]$"):
        PluginRegistry().observers({"alpha": {}})


def test_a_watcher_that_is_broken_is_a_problem_and_no_error(site: Site) -> None:
    site.install("w-one", "[prx_tunnel.observers]\na = w_one\n", modules={"w_one": "1 / 0"})
    good = f"{HEADER}\n@hookimpl\ndef prx_tunnel_health_checked(health): ...\n"
    site.install("w-two", "[prx_tunnel.observers]\na = w_two\n", modules={"w_two": good})
    plugins = PluginRegistry()
    plugins.load_watchers()
    plugins.load_watchers()
    (problem,) = plugins.problems
    assert problem.startswith("w-one 1.0: ")
    assert {(e.distribution, e.kind, bool(e.problem)) for e in plugins.listing()} >= {
        ("w-one", "watcher", True),
        ("w-two", "watcher", False),
    }


@pytest.mark.anyio
async def test_a_module_behind_several_entries_is_told_once(site: Site) -> None:
    source = f"""{backend("alpha")}
@hookimpl
async def prx_tunnel_status_changed(tunnel):
    told.append(tunnel)
told = []
"""
    entry_points = "[prx_tunnel]\nalpha = both\n[prx_tunnel.observers]\nalpha = both\n"
    site.install("prx-tunnel-alpha", entry_points, modules={"both": source})
    plugins = PluginRegistry()
    await tell(plugins, "early")
    plugins.load_watchers()
    plugins.backend("alpha")
    await tell(plugins, "web")
    assert sys.modules["both"].told == ["web"]


def test_listing_a_plugin_does_not_make_it_one_that_is_told(site: Site) -> None:
    site.plugin("alpha", backend("alpha"))
    plugins = PluginRegistry()
    plugins.listing()
    assert plugins.loaded() == []


# --- programs ----------------------------------------------------------------------------------


def test_the_program_of_a_backend_is_looked_for(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = f"""{HEADER}
@hookimpl
def prx_tunnel_backends():
    yield Backend(name="alpha", summary="", config=BackendConfig, connect=print,
                  program="alphad", install_hint="apt install alphad")
"""
    site.plugin("alpha", source)
    folder = tmp_path / "bin"
    folder.mkdir(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))
    entry = listed("alpha")
    assert (entry.program, entry.program_path) == ("alphad", None)
    assert entry.install_hint == "apt install alphad"
    (folder / "alphad").write_text("#!/bin/sh\n")
    (folder / "alphad").chmod(0o755)
    assert listed("alpha").program_path == str(folder / "alphad")
