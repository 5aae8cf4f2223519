from __future__ import annotations

import time

import importlib_metadata
import pytest

from prx_tunnel_core import PluginError
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core.errors import SetupError
from support.distributions import HEADER, Site, backend, listed, observer


def hook(body: str) -> str:
    return f"{HEADER}\n@hookimpl\ndef prx_tunnel_backends():\n    {body}\n"


BROKEN = {
    "raises": ("1 / 0", "ZeroDivisionError: division by zero"),
    "missing-dependency": ("import no_such_module", "No module named 'no_such_module'"),
    "exits": ("import sys; sys.exit('you need a newer Python')", "SystemExit: you need a newer"),
    "syntax": ("def (", "SyntaxError"),
    "empty": ("", "implements no hook; is @hookimpl missing?"),
    "unmarked": ("def prx_tunnel_backends(): ...", "implements no hook; is @hookimpl missing?"),
    "typo": (
        f"{HEADER}\n@hookimpl\ndef prx_tunnel_backend(): ...",
        "unknown hook 'prx_tunnel_backend'",
    ),
    "arguments": (
        f"{HEADER}\n@hookimpl\ndef prx_tunnel_backends(config): ...",
        "'config'} are declared in the hookimpl",
    ),
    "none": (hook("return None"), "provides no backend 'x' (but: none)"),
    "not-iterable": (hook("return 3"), "returned int; yield Backend objects"),
    "url": (hook("return 'https://x.example'"), "yielded str, not Backend"),
    "wrong-type": (hook("yield object()"), "yielded object, not Backend"),
    "a-class": (hook("yield Backend"), "yielded type, not Backend"),
    "async": (
        f"{HEADER}\n@hookimpl\nasync def prx_tunnel_backends(): return []",
        "is an `async def`; write a plain function",
    ),
    "async-generator": (
        f"{HEADER}\n@hookimpl\nasync def prx_tunnel_backends(): yield 1",
        "returned async_generator; yield Backend objects",
    ),
    "half-way": (f"{backend('x')}\n    raise LookupError('late')", "raised LookupError: late"),
    "exits-late": (f"{backend('x')}\n    raise SystemExit(3)", "raised SystemExit: 3"),
    "bad-name": (backend("../x"), "Backend name '../x': use a-z"),
    "twice": (backend("x", "x"), "yielded two of the name 'x'"),
    "another-name": (backend("y", "z"), "provides no backend 'x' (but: y, z)"),
    "an-observer": (observer("x"), "provides no backend 'x' (but: none)"),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN)
def test_l01_l02_l09_l10_l13_a_broken_plugin_harms_only_who_selects_it(
    site: Site, source: str, reason: str
) -> None:
    site.plugin("x", source, version="0.3")
    site.plugin("good", backend("good"))
    plugins = PluginRegistry()
    assert plugins.backend("good").name == "good"
    with pytest.raises(PluginError) as caught:
        plugins.backend("x")
    message = str(caught.value)
    assert message.startswith("prx-tunnel-x 0.3: ")
    assert reason in message
    assert message.isprintable()
    assert isinstance(caught.value, SetupError)
    assert not listed("good").problem
    if source != observer("x"):
        entry = listed("x")
        assert (entry.distribution, entry.version) == ("prx-tunnel-x", "0.3")
        assert entry.problem


def test_the_original_error_is_the_cause(site: Site) -> None:
    site.plugin("x", "1 / 0")
    with pytest.raises(PluginError) as caught:
        PluginRegistry().backend("x")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_interrupt_by_the_user_is_not_held_back(site: Site) -> None:
    site.plugin("x", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        PluginRegistry().backend("x")


@pytest.mark.parametrize(
    "damage",
    [
        b"[console_scripts]\nthis line has no sign\n",
        b"[console_scripts]\n\xff\xfe = x:y\n",
        b"\x00\x00[",
    ],
)
def test_l07_a_malformed_file_of_an_unrelated_distribution_harms_nobody(
    site: Site, damage: bytes
) -> None:
    site.install("aaa-unrelated", damage)
    site.plugin("alpha", backend("alpha"))
    assert PluginRegistry().backend("alpha").name == "alpha"
    assert not [
        entry for entry in PluginRegistry().listing() if entry.distribution == "aaa-unrelated"
    ]


def test_l07_the_library_itself_gives_up_on_such_a_file(site: Site) -> None:
    """When this fails, `find_installed` may become one line."""
    site.install("aaa-unrelated", b"[console_scripts]\nthis line has no sign\n")
    with pytest.raises(TypeError):
        importlib_metadata.entry_points()


def test_a_malformed_file_of_a_plugin_is_told_to_who_selects_it(site: Site) -> None:
    site.install("prx-tunnel-alpha", "[prx_tunnel]\nno sign here\n", version="0.9")
    with pytest.raises(PluginError, match=r"^prx-tunnel-alpha 0\.9: .* is malformed"):
        PluginRegistry().backend("alpha")
    assert "malformed" in listed("alpha").problem


def test_what_an_interrupted_removal_left_behind(site: Site) -> None:
    site.install("x", "[prx_tunnel]\nalpha = site_gone\n", metadata=False)
    with pytest.raises(PluginError, match=r"without metadata: .*No module named 'site_gone'"):
        PluginRegistry().backend("alpha")


def test_s16_a_file_of_empty_lines_takes_no_time(site: Site) -> None:
    site.install("aaa-unrelated", "\n" * 400_000 + "[console_scripts]\n")
    site.plugin("alpha", backend("alpha"))
    began = time.process_time()
    assert PluginRegistry().backend("alpha").name == "alpha"
    assert time.process_time() - began < 10  # a quadratic search takes a quarter of an hour


HANGING = {
    "import": "import threading; threading.Event().wait()",
    "hook": hook("import threading; threading.Event().wait()"),
    "generator": f"{backend('x')}\n    import threading; threading.Event().wait()",
}


@pytest.mark.parametrize("source", HANGING.values(), ids=HANGING)
def test_s16_a_plugin_that_hangs_is_named_and_harms_no_other(
    site: Site, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_core._plugins.loading.DEADLINE", 0.2)
    site.plugin("good", backend("good"))
    site.plugin("x", source, version="0.3")
    site.plugin("zzz", backend("zzz"))
    monkeypatch.setattr("prx_tunnel_core._plugins.loading._hanging", set())
    plugins = PluginRegistry()
    assert not any(entry.problem for entry in plugins.listing() if entry.name in ("good", "zzz"))
    entry = next(entry for entry in plugins.listing() if entry.name == "x")
    assert entry.problem.startswith("prx-tunnel-x 0.3: ")
    assert "within 0.2 s" in entry.problem
    with pytest.raises(PluginError, match=r"within 0\.2 s"):
        plugins.backend("x")
    assert plugins.backend("good").name == "good"
