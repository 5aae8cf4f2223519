"""L: an installed plugin that is broken, foreign, or of another time, as its user meets it."""

from __future__ import annotations

import pytest

from prx_tunnel_core import PluginError, PluginRegistry, UnknownBackend
from support.distributions import HEADER, Site, backend


def refused(site: Site, source: str, name: str = "x") -> str:
    """Why the plugin cannot be used; another one can, and both are listed."""
    site.plugin(name, source, version="0.3")
    site.plugin("good", backend("good"))
    plugins = PluginRegistry()
    with pytest.raises(PluginError) as caught:
        plugins.backend(name)
    assert plugins.backend("good").name == "good"
    listed = {entry.name: entry.problem for entry in plugins.listing()}
    assert listed["good"] == ""
    assert listed[name]
    said = str(caught.value)
    assert said.startswith(f"prx-tunnel-{name} 0.3: ")
    return said


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / 0", "division by zero"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise SystemExit('needs a newer Python')", "SystemExit: needs a newer Python"),
        ("def (", "SyntaxError"),
    ],
)
def test_l01_an_import_that_fails_disables_that_plugin(
    site: Site, source: str, reason: str
) -> None:
    said = refused(site, source)
    assert reason in said
    assert "reinstall or update prx-tunnel-x" in said


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        # Made for a newer core: what it asks for is not there yet.
        ("from prx_tunnel_core import BetterBackend", "cannot import name 'BetterBackend'"),
        (f"{HEADER}\n@hookimpl\ndef prx_tunnel_traffic(): ...", "unknown hook 'prx_tunnel_traffic"),
        (f"{HEADER}\nBackend(name='x', better=1)", "unexpected keyword argument 'better'"),
        # Made for an older one: what it gives is not enough any more.
        (f"{HEADER}\nBackend(name='x', summary='')", "missing 2 required"),
    ],
)
def test_l08_made_for_another_core(site: Site, source: str, reason: str) -> None:
    """There is no number to compare: what a plugin uses is there, or it is refused by name."""
    assert reason in refused(site, source)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def prx_tunnel_backend(): ...", "unknown hook 'prx_tunnel_backend'"),
        ("def prx_tunnel_backends(config): ...", "are declared in the hookimpl"),
        ("async def prx_tunnel_backends(): return []", "is an `async def`; write a plain"),
        ("async def prx_tunnel_backends(): yield 1", "returned async_generator"),
    ],
)
def test_l09_a_hook_that_does_not_fit(site: Site, source: str, reason: str) -> None:
    assert reason in refused(site, f"{HEADER}\n@hookimpl\n{source}")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 3", "returned int; yield Backend objects"),
        ("return 'https://x.example'", "yielded str, not Backend"),
        ("yield None", "yielded NoneType, not Backend"),
        ("yield Backend", "yielded type, not Backend"),
    ],
)
def test_l10_a_hook_that_yields_something_else(site: Site, body: str, reason: str) -> None:
    assert reason in refused(site, f"{HEADER}\n@hookimpl\ndef prx_tunnel_backends():\n    {body}")


@pytest.mark.parametrize(
    "name", ["../x", "X", "\u00e9", "", "reconnect", "tunnel", "a b", "x" * 33, "1x", "a\\n", "a_b"]
)
def test_l13_a_name_that_no_backend_can_have(site: Site, name: str) -> None:
    said = refused(site, backend(name))
    assert "use a-z, 0-9 and '-', beginning with a letter, at most 32 characters" in said
    assert said.isprintable()


def test_l15_a_plugin_that_is_removed_while_it_is_used(site: Site) -> None:
    site.plugin("alpha", backend("alpha"))
    plugins = PluginRegistry()
    alpha = plugins.backend("alpha")
    for path in site.folder.rglob("*"):
        if path.is_file():
            path.unlink()
    assert plugins.backend("alpha") is alpha
    later = PluginRegistry()
    later.refresh()
    with pytest.raises(UnknownBackend, match="called prx-tunnel-alpha"):
        later.backend("alpha")
