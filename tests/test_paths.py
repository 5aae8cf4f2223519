"""Which path a request is for: a guard decides by it before a router has read it."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import unquote

import pytest

from prx_tunnel_core.middleware import is_request
from prx_tunnel_core.paths import AmbiguousPath, GuardedPath, RequestPath, UnguardedPaths

HOOK = GuardedPath("/webhooks/github")
OPEN = UnguardedPaths(["/webhooks/", "/telegram", "/"])


def asked_for(target: str, **scope: Any) -> RequestPath:
    """As a server decodes a request target."""
    raw = target.encode("latin-1")
    return RequestPath({"path": unquote(target), "raw_path": raw, "root_path": "", **scope})


@pytest.mark.parametrize(
    "target",
    [
        "/webhooks/github%0a", "/webhooks/github%0A", "/webhooks/github%0d%0a", "/a%00", "/a%09b",
        "/a%7f", "/a%c2%85", "/a%e2%80%a8", "/a%e2%80%a9", "/a%1b[0m",
        "//webhooks/github", "/webhooks//github", "/webhooks/github//", "///",
        "/a/..", "/a/../b", "/..", "/.", "/a/./b", "/a/.", "/.. /a", "/..%20/a", "/..;/a", "/.;x/a",
        "/..%3f/a", "/..%23", "/;/a", "/a/;x", "/%3fx/a", "/a/%23",
        "/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/a\\b", "/%2e%2e/a", "/%2E/a", "/a%2etxt",
        "/a%252fb", "/a%250ab", "/a%2500", "/a%25%32%66", "/a%%32f", "/a%", "/a%z", "/a%zz", "/a%2",
        "/a%c0%af", "/a%ff", "/a%e0%80%af", "/a%ed%a0%80", "/a%f5%80%80%80", "/\xff",
        "/a%ef%bc%8fb", "/a%ef%bc%bcb", "/a/%ef%bc%8e%ef%bc%8e/b", "/a/%e2%80%a5/b", "/%e2%84%80",
        "/a%ef%bc%852f", "/a%ef%bf%bd",
        "", "*", "webhooks/github", "http://localhost/webhooks/github", "?", "#", "%2fa", "\\a",
    ],
)  # fmt: skip
def test_s01_what_can_be_read_in_several_ways_is_refused(target: str) -> None:
    with pytest.raises(AmbiguousPath):
        asked_for(target)


@pytest.mark.parametrize(
    "raw", [b"/%2e%2e/a", b"/a%2fb", b"/a%5cb", b"/a%", b"/a%c0%af", b"//a", b""]
)
def test_s01_so_is_what_only_the_undecoded_path_shows(raw: bytes) -> None:
    with pytest.raises(AmbiguousPath):
        RequestPath({"path": "/a", "raw_path": raw})


@pytest.mark.parametrize("path", [None, "", "a", b"/a", "/a\udcff"])
def test_s01_a_server_that_gives_no_path_is_refused(path: Any) -> None:
    for scope in ({"path": path}, {"path": path, "raw_path": b"/a"}):
        with pytest.raises(AmbiguousPath):
            RequestPath(scope)
    with pytest.raises(AmbiguousPath):
        RequestPath({"path": "/a", "raw_path": "/a"})


@pytest.mark.parametrize(
    "target",
    [
        "/", "/a", "/a/", "/a/b.c", "/.well-known/x", "/..a", "/a..", "/...", "/a%20b", "/a+b",
        "/caf%c3%a9", "/caf\xc3\xa9", "/%e6%97%a5%e6%9c%ac", "/%f0%9f%91%8d", "/a;x=1/b", "/a%3fb",
        "/100%25", "/100%25/a", "/a:b@c,d", "/~me", "/a%e2%80%8db", "/(a)'!$&*", "/a?b=//../%0a",
        "/bot123:AAE-x_y",
    ],
)  # fmt: skip
def test_ordinary_paths_are_not(target: str) -> None:
    request = asked_for(target, path=unquote(target.partition("?")[0]))
    assert not HOOK.covers(request)
    assert GuardedPath("/").covers(request)


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks/github", "/webhooks/github/", "/webhooks/github/x", "/WebHooks/GitHub",
        "/webhooks/github;a=1", "/webhooks;a/github", "/webhooks/github?x", "/webhooks/github#x",
        "/webhooks/github ", "/webhooks/ github", "/webhooks/\uff47ithub",
        "/webhooks/g\u0131thub", "/webhooks/g\u0130thub", "/webhook\u017f/github",
        "/webhoo\u212as/github", "/webhooks/git\u200bhub",
        "/webhooks/gi\u0307thub", "/webhooksgithub",
    ],
)  # fmt: skip
def test_s01_a_guard_covers_every_spelling(path: str) -> None:
    assert HOOK.covers(RequestPath({"path": path}))


@pytest.mark.parametrize(
    "path",
    ["/", "/webhooks", "/webhooks/githubs", "/webhooks/gitlab", "/github", "/webhooks/x/github"],
)
def test_a_guard_covers_nothing_else(path: str) -> None:
    assert not HOOK.covers(RequestPath({"path": path}))
    assert GuardedPath("/").covers(RequestPath({"path": path}))


@pytest.mark.parametrize(
    "path",
    [
        "/x/webhooks/github",
        "/api/v1/webhooks/github/x",
        "/xwebhooks/github",
        "/x/WEBHOOKS/github;a",
    ],
)
def test_s01_a_guard_covers_its_path_behind_whatever_an_application_cuts_off(path: str) -> None:
    assert HOOK.covers(RequestPath({"path": path}))


@pytest.mark.parametrize(
    "path", ["/hook", "/hook/x", "/api/hook", "/api/hook/x", "/apihook", "/apihook/", "/v1/apihook"]
)
def test_s01_so_does_a_guard_of_one_segment(path: str) -> None:
    """Mounts of Litestar and Hypercorn take `/apihook` for `/hook` below `/api`."""
    assert GuardedPath("/hook").covers(RequestPath({"path": path}))


@pytest.mark.parametrize("path", ["/hooks", "/hook2/x", "/ho/ok2", "/"])
def test_a_guard_of_one_segment_covers_nothing_else(path: str) -> None:
    assert not GuardedPath("/hook").covers(RequestPath({"path": path}))


@pytest.mark.parametrize(
    "scope",
    [
        {"path": "/api/webhooks/github", "root_path": "/api"},
        {"path": "/api/webhooks/github", "root_path": "/api/"},
        {"path": "/apiwebhooks/github", "root_path": "/api"},
        {"path": "/x/api/webhooks/github", "root_path": "/api"},
        {"path": "/API/webhooks/github", "root_path": "/api"},
        {"path": "/github", "root_path": "/webhooks"},
        {"path": "/webhooks/github", "root_path": "/webhooks"},
        {"path": "/other", "raw_path": b"/webhooks/github"},
        {"path": "/webhooks/github", "raw_path": b"/other"},
        {"path": "/webhooks/github", "raw_path": b"/api/webhooks/github", "root_path": "/api"},
    ],
)
def test_s01_a_guard_covers_what_mounts_and_root_paths_make_of_it(scope: dict[str, Any]) -> None:
    assert HOOK.covers(RequestPath(scope))


@pytest.mark.parametrize(
    "scope",
    [
        {"path": "/webhooks/x"},
        {"path": "/webhooks/"},
        {"path": "/telegram"},
        {"path": "/"},
        {"path": "/api/webhooks/x", "root_path": "/api"},
        {"path": "/webhooks/x", "root_path": "/api"},
        {"path": "/api", "root_path": "/api"},
        {"path": "/webhooks/x", "raw_path": b"/api/webhooks/x", "root_path": "/api"},
    ],
)
def test_what_is_unguarded_is_what_every_router_reads_so(scope: dict[str, Any]) -> None:
    assert OPEN.cover(RequestPath(scope))


@pytest.mark.parametrize(
    "scope",
    [
        {"path": "/admin"},
        {"path": "/webhooks"},
        {"path": "/Webhooks/x"},
        {"path": "/telegram/"},
        {"path": "/telegram/x"},
        {"path": "/telegramx"},
        {"path": "/telegram;x"},
        {"path": "/telegram "},
        {"path": "/webhooks/admin", "root_path": "/webhooks"},
        {"path": "/webhooks/api/admin", "root_path": "/api"},
        {"path": "/webhooksadmin", "root_path": "/webhooks"},
        {"path": "/webhooks/x", "raw_path": b"/admin"},
        {"path": "/admin", "raw_path": b"/webhooks/x"},
    ],
)
def test_s01_in_doubt_nothing_is_unguarded(scope: dict[str, Any]) -> None:
    assert not OPEN.cover(RequestPath(scope))
    assert not UnguardedPaths([]).cover(RequestPath(scope))


def test_s01_what_patterns_without_case_take_for_a_letter_is_folded_alike() -> None:
    """Routes may be regular expressions with `(?i)`."""
    everything = "".join(map(chr, range(0xA0, 0x20000)))
    for letter in "abcdefghijklmnopqrstuvwxyz":
        for other in re.findall(letter, everything, re.IGNORECASE):
            assert GuardedPath(f"/{letter}").covers(RequestPath({"path": f"/{other}"})), other


@pytest.mark.parametrize(
    "piece", ["/a", " x", "x ", "/ ", "/\u3000x", "/x;x", "\ufdfa", "/api", "%"]
)
def test_s01_a_long_path_costs_little(piece: str) -> None:
    path = "/" + piece.lstrip("/") + piece * (8000 // len(piece))
    began = time.process_time()
    request = RequestPath({"path": path, "root_path": "/a"})
    HOOK.covers(request)
    OPEN.cover(request)
    assert time.process_time() - began < 0.5
    with pytest.raises(AmbiguousPath):
        RequestPath({"path": path * 2})


@pytest.mark.parametrize(
    "path",
    ["", "hook", "/a//b", "/a/../b", "/a%20b", "/a\n", "/a\\b", "http://localhost/a", "/a/{name}",
     "/a/<name>", "/a/*", "/a?b", None, b"/a"],
)  # fmt: skip
def test_s01_a_setting_that_would_never_match_is_refused(path: Any) -> None:
    with pytest.raises(ValueError, match=r"^path: "):
        GuardedPath(path)
    with pytest.raises(ValueError, match=r"^unguarded: "):
        UnguardedPaths([path])


@pytest.mark.parametrize("paths", ["/a", b"/a", {"/a": 1}])
def test_unguarded_is_a_collection_of_paths(paths: Any) -> None:
    with pytest.raises(ValueError, match="give a collection of paths"):
        UnguardedPaths(paths)


def test_s07_other_kinds_of_scopes_are_refused() -> None:
    assert is_request({"type": "http"})
    assert is_request({"type": "websocket"})
    assert not is_request({"type": "lifespan"})
    for kind in ("webtransport", "HTTP", "http.something", "", None):
        with pytest.raises(ValueError, match="is not supported"):
            is_request({"type": kind})
