from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from prx_tunnel_core import Backend, BackendConfig, PluginError, UnknownBackend, hookimpl
from prx_tunnel_core._plugins import SWITCH, FoundPlugin, ListedPlugin, PluginRegistry
from prx_tunnel_core.backend import AnyBackend, Connection, Target
from prx_tunnel_core.errors import ConfigError
from support.distributions import HEADER, Site, backend, listed, observer

# --- the good case -----------------------------------------------------------------------------


def test_a_backend_is_found_by_its_name(site: Site) -> None:
    site.plugin("alpha", backend("alpha"), version="1.2.3")
    found = PluginRegistry().backend("alpha")
    assert (found.name, found.summary) == ("alpha", "the alpha")
    assert listed("alpha") == ListedPlugin(
        name="alpha", distribution="prx-tunnel-alpha", version="1.2.3", summary="the alpha"
    )


def test_one_module_may_stand_behind_several_names(site: Site) -> None:
    entry_points = "[prx_tunnel]\nalpha = both\nbeta = both\n"
    site.install("prx-tunnel-both", entry_points, modules={"both": backend("alpha", "beta")})
    plugins = PluginRegistry()
    assert plugins.backend("beta").name == "beta"
    assert plugins.backend("alpha").name == "alpha"


def test_an_entry_point_may_name_an_object(site: Site) -> None:
    source = (
        HEADER
        + """
class Plugin:
    @hookimpl
    def prx_tunnel_backends(self):
        yield Backend(name="alpha", summary="", config=BackendConfig, connect=print)
plugin = Plugin()
"""
    )
    site.install(
        "prx-tunnel-alpha", "[prx_tunnel]\nalpha = module:plugin\n", modules={"module": source}
    )
    assert PluginRegistry().backend("alpha").name == "alpha"


def test_the_hook_is_asked_once(site: Site) -> None:
    source = f"{backend('alpha')}\n    calls.append(1)\ncalls = []\n"
    site.plugin("alpha", source)
    plugins = PluginRegistry()
    assert plugins.backend("alpha") is plugins.backend("alpha")
    assert sys.modules["site_alpha"].calls == [1]


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One item for each time that all distributions are looked at."""
    import importlib_metadata

    counted: list[None] = []
    discover: Callable[[], Iterable[importlib_metadata.Distribution]]
    discover = importlib_metadata.Distribution.discover

    def counting() -> Iterable[importlib_metadata.Distribution]:
        counted.append(None)
        return discover()

    monkeypatch.setattr(importlib_metadata.Distribution, "discover", counting)
    return counted


def test_it_is_searched_once_until_it_is_refreshed(site: Site, searches: list[None]) -> None:
    site.plugin("alpha", backend("alpha"))
    plugins = PluginRegistry()
    assert [PluginRegistry().backend("alpha").name for _ in range(3)] == ["alpha"] * 3
    assert plugins.backend("alpha").name == "alpha"
    assert len(searches) == 1
    site.plugin("beta", backend("beta"), seen=False)
    with pytest.raises(UnknownBackend):
        PluginRegistry().backend("beta")
    plugins.refresh()
    assert plugins.backend("beta").name == "beta"
    assert [PluginRegistry().backend("beta").name for _ in range(3)] == ["beta"] * 3
    assert len(searches) == 2


def test_a_refreshed_registry_keeps_what_was_imported_and_registered(site: Site) -> None:
    site.plugin("alpha", f"{backend('alpha')}\n    calls.append(1)\ncalls = []\n")
    plugins = PluginRegistry()
    plugins.register(Registered("gamma"))
    before = plugins.backend("alpha"), plugins.backend("gamma")
    plugins.refresh()
    assert (plugins.backend("alpha"), plugins.backend("gamma")) == before
    assert sys.modules["site_alpha"].calls == [1]


def test_an_unknown_backend_says_how_to_get_it_and_what_there_is(site: Site) -> None:
    site.plugin("alpha", backend("alpha"))
    with pytest.raises(UnknownBackend) as caught:
        PluginRegistry(entry_points=list).backend("frp")
    assert str(caught.value) == (
        "there is no backend 'frp' (installed: none); its distribution would be called "
        "prx-tunnel-frp: install it only if you know its publisher"
    )
    with pytest.raises(ConfigError, match=r"installed: .*\balpha\b"):
        PluginRegistry().backend("frp")


# --- finding and loading are two things --------------------------------------------------------


def run(site: Site, code: str, **environ: str) -> list[str]:
    """What the code prints in a fresh interpreter that has the site on its path."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": str(site.folder), **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.split()


SHOW = "import sys; print(*sorted(m for m in sys.modules if m.startswith('site_')))"


@pytest.fixture
def many(site: Site) -> Site:
    site.plugin("alpha", backend("alpha"))
    site.plugin("beta", backend("beta"))
    site.plugin("gamma", observer("gamma"))
    watcher = f"{HEADER}\n@hookimpl\ndef prx_tunnel_health_checked(health): ...\n"
    site.install("watcher", "[prx_tunnel.observers]\nw = site_w\n", modules={"site_w": watcher})
    return site


@pytest.mark.parametrize(
    ("code", "imported"),
    [
        ("PluginRegistry()", []),
        ("PluginRegistry()._found", []),
        ("PluginRegistry().backend('alpha')", ["site_alpha"]),
        ("PluginRegistry().observers({'gamma': {}, 'agent': {}, 'beta': 3})", ["site_gamma"]),
        ("PluginRegistry().load_watchers()", ["site_w"]),
        ("PluginRegistry().listing()", ["site_alpha", "site_beta", "site_gamma", "site_w"]),
    ],
)
def test_only_what_is_asked_for_is_imported(many: Site, code: str, imported: list[str]) -> None:
    assert run(many, f"from prx_tunnel_core import PluginRegistry; {code}; {SHOW}") == imported


def test_nothing_is_looked_for_before_it_is_needed(many: Site) -> None:
    code = "import sys; from prx_tunnel_core import PluginRegistry as P; P(); print(*sys.modules)"
    assert {"importlib_metadata", "pydantic", "httpx"}.isdisjoint(run(many, code))


def test_the_order_is_not_the_order_of_the_file_system(site: Site) -> None:
    for name in ("gamma", "alpha", "beta"):
        site.plugin(name, backend(name))
    names = [entry.name for entry in PluginRegistry().listing()]
    assert names == sorted(names)


def test_the_first_of_two_versions_on_the_path_is_the_one(site: Site, tmp_path: Path) -> None:
    site.plugin("alpha", backend("alpha"), version="2.0")
    later = tmp_path / "later"
    later.mkdir()
    Site(later).plugin("alpha", backend("alpha"), version="1.0")
    sys.path.append(str(later))
    try:
        assert listed("alpha").version == "2.0"
        assert PluginRegistry().backend("alpha").name == "alpha"
    finally:
        sys.path.remove(str(later))


# --- one name, two plugins ---------------------------------------------------------------------


def test_l05_l06_two_distributions_of_one_name_are_an_error_that_names_both(site: Site) -> None:
    site.plugin("alpha", "raise AssertionError('nobody may import this')")
    fork = {"fork": "raise AssertionError('nor this')"}
    site.install("my-fork", "[prx_tunnel]\nalpha = fork\n", version="2.0", modules=fork)
    with pytest.raises(PluginError) as caught:
        PluginRegistry().backend("alpha")
    assert "'alpha' is provided by my-fork 2.0 and prx-tunnel-alpha 1.0" in str(caught.value)
    assert SWITCH in str(caught.value)


def test_l06_both_are_listed_with_the_other(site: Site) -> None:
    site.plugin("alpha", backend("alpha"))
    site.install("my-fork", "[prx_tunnel]\nalpha = fork\n", modules={"fork": backend("alpha")})
    problems = {
        entry.distribution: entry.problem
        for entry in PluginRegistry().listing()
        if entry.name == "alpha"
    }
    assert problems == {
        "my-fork": "prx-tunnel-alpha 1.0 has the same name",
        "prx-tunnel-alpha": "my-fork 1.0 has the same name",
    }


def test_switching_one_off_settles_it(site: Site) -> None:
    site.plugin("alpha", backend("alpha"))
    site.install("My.Fork", "[prx_tunnel]\nalpha = fork\n", modules={"fork": "1 / 0"})
    plugins = PluginRegistry(environ={SWITCH: "my-fork"})
    assert plugins.backend("alpha").name == "alpha"
    assert listed_problem(plugins, "My.Fork") == f"switched off by {SWITCH}"
    assert listed_problem(plugins, "prx-tunnel-alpha") == ""


def listed_problem(plugins: PluginRegistry, distribution: str) -> str:
    (entry,) = (e for e in plugins.listing() if e.distribution == distribution)
    return entry.problem


class Registered:
    def __init__(self, *names: str) -> None:
        self.names = names

    @hookimpl
    def prx_tunnel_backends(self) -> Iterator[AnyBackend]:
        for name in self.names:
            yield Backend(name=name, summary="mine", config=BackendConfig, connect=never)


def never(config: BackendConfig, target: Target) -> AbstractAsyncContextManager[Connection]:
    raise NotImplementedError


def test_a_registered_plugin_takes_part(site: Site) -> None:
    site.plugin("alpha", backend("alpha"))
    plugins = PluginRegistry()
    plugins.register(Registered("alpha", "beta"), name="host")
    assert plugins.backend("beta").summary == "mine"
    with pytest.raises(PluginError, match=r"prx-tunnel-alpha 1\.0 and registered plugin host"):
        plugins.backend("alpha")
    plugins.register(Registered("beta"))
    with pytest.raises(PluginError, match="plugin host and registered plugin Registered"):
        plugins.backend("beta")


def test_the_same_plugin_installed_and_registered_is_one(site: Site) -> None:
    site.plugin("alpha", backend("alpha"))
    plugins = PluginRegistry()
    plugins.register(importlib.import_module("site_alpha"))
    assert plugins.backend("alpha").name == "alpha"


@pytest.mark.parametrize("plugin", [None, object(), Registered("Not A Name")])
def test_a_registered_plugin_that_is_wrong_is_an_error_at_once(plugin: object) -> None:
    with pytest.raises(PluginError, match="registered plugin"):
        PluginRegistry(entry_points=list).register(plugin)


def test_registered_plugins_are_listed() -> None:
    plugins = PluginRegistry(entry_points=list)
    plugins.register(Registered("beta", "alpha"), name="host")
    assert [(e.name, e.distribution, e.kind) for e in plugins.listing()] == [
        ("beta", "registered plugin host", "backend"),
        ("alpha", "registered plugin host", "backend"),
    ]


def test_a_plugin_without_a_distribution_is_not_switched_off_by_nothing() -> None:
    found = FoundPlugin("alpha", lambda: Registered("alpha"))
    assert PluginRegistry(environ={}, entry_points=lambda: [found]).backend("alpha").name == "alpha"


# --- the off-switch ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["alpha", "*", "beta, alpha", "prx-tunnel-alpha", "PRX_tunnel.alpha"]
)
def test_a_plugin_that_is_switched_off_says_so(site: Site, value: str) -> None:
    site.plugin("alpha", "raise AssertionError('nobody may import this')")
    plugins = PluginRegistry(environ={SWITCH: value})
    with pytest.raises(PluginError, match=rf"prx-tunnel-alpha 1\.0\) is switched off by {SWITCH}"):
        plugins.backend("alpha")
    assert plugins.observers({"alpha": {}}) == []
    assert listed("alpha", plugins).problem == f"switched off by {SWITCH}"
    assert plugins.problems == []


@pytest.mark.parametrize("value", ["", " , ", "alph", "beta"])
def test_others_stay_on(site: Site, value: str) -> None:
    site.plugin("alpha", backend("alpha"))
    assert PluginRegistry(environ={SWITCH: value}).backend("alpha").name == "alpha"


def test_the_switch_of_the_process_counts(many: Site) -> None:
    code = "from prx_tunnel_core import PluginRegistry; PluginRegistry().load_watchers();" + SHOW
    assert run(many, code) == ["site_w"]
    assert run(many, code, **{SWITCH: "w"}) == []
