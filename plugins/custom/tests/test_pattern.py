"""Which part of which line is the public URL."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prx_tunnel_custom.config import CustomConfig
from prx_tunnel_custom.connect import Search

from prx_tunnel_core.backend import Target
from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.text import printable
from prx_tunnel_core.urls import ANY_URL

TARGET = Target("127.0.0.1", 3000)


def find(line: str, pattern: str, **options: Any) -> str | None:
    table = {"command": "x", "url_pattern": pattern, **options}
    config = validate(CustomConfig, table, path="tunnel.custom")
    return Search(config, TARGET).find(printable(line))


# Lines that real programs print, as they print them.
FOUND = {
    "bore": (
        "\x1b[2m03:04:05Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mbore_cli\x1b[0m: at bore.pub:41234",
        "bore.pub",
        "http://bore.pub:41234",
    ),
    "localtunnel": (
        "your url is: https://loud-lions-sing.loca.lt",
        r"your url is: (\S+)",
        "https://loud-lions-sing.loca.lt",
    ),
    "serveo": (
        "Forwarding HTTP traffic from \x1b[32mhttps://a1b2.serveo.net\x1b[0m",
        "serveo.net",
        "https://a1b2.serveo.net",
    ),
    "localhost.run": (
        "abc123.lhr.life tunneled with tls termination, https://abc123.lhr.life",
        "https://abc123",
        "https://abc123.lhr.life",
    ),
    "logfmt": (
        't=2026 lvl=info msg="started tunnel" addr=http://localhost:3000 url=https://a.ngrok.app',
        "ngrok.app",
        "https://a.ngrok.app",
    ),
    "quoted logfmt": ('level=info url="https://a.zrok.io"', ".zrok.io", "https://a.zrok.io"),
    "JSON": ('{"msg":"up","url":"https://a.zrok.io"}', r'"url":"([^"]+)"', "https://a.zrok.io"),
    "hyperlink": (
        "at \x1b]8;;https://a.loca.lt\x1b\\https://a.loca.lt\x1b]8;;\x1b\\ now",
        "loca.lt",
        "https://a.loca.lt",
    ),
    "progress bar": ("\rconnecting.\rconnecting..\rat bore.pub:1\r\n", "bore.pub", "http://bore.pub:1"),
    "box": ("│ https://a.loca.lt │", "loca.lt", "https://a.loca.lt"),
    "sentence": ("Open (https://a.loca.lt/app).", "loca.lt", "https://a.loca.lt/app"),
    "invalid UTF-8": ("\ufffd\ufffd at bore.pub:1 \ufffd", "bore.pub", "http://bore.pub:1"),
    "local URL beside it": (
        "http://localhost:3000 -> https://a.loca.lt", r"(https?://\S+(?:3000|loca\.lt))",
        "https://a.loca.lt",
    ),
    "second match is valid": ("at ??? at bore.pub:1", r"at (\S+)", "http://bore.pub:1"),
    "IPv6": ("at [2001:db8::1]:8080", r"at (\S+)", "http://[2001:db8::1]:8080"),
    "group that takes no part": ("at bore.pub:1", r"(?:to (\S+)|at )", None),
    "text that has a parenthesis": ("up (1): bore.pub:1", r"up \(1\): (\S+)", "http://bore.pub:1"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "pattern", "url"), FOUND.values(), ids=FOUND)
def test_the_url_is_found_as_programs_print_it(line: str, pattern: str, url: str | None) -> None:
    assert find(line, pattern) == url


NOT_FOUND = {
    "the line has the text, not the URL": ("no bore.pub, see https://docs.example/x", "bore.pub"),
    "no port": ("connected to bore.pub", "bore.pub"),
    "port zero": ("at bore.pub:0", "bore.pub"),
    "port beyond the last": ("at bore.pub:99999", "bore.pub"),
    "a full stop is no wildcard": ("at borexpub:41234", "bore.pub"),
    "user information": ("at http://bore.pub:1@evil.test", "bore.pub"),
    "a query": ("GET https://evil.test/?x=bore.pub:41234", "bore.pub"),
    "another scheme": ("ftp://bore.pub:41234", "bore.pub"),
    "the local URL": ("local: http://localhost:3000", r"local: (\S+)"),
    "the local address": ("at 127.0.0.1:3000", r"at (\S+)"),
    "the local address, written differently": ("at 127.0.0.2:3000", r"at (\S+)"),
    "the local address in IPv6": ("at [::1]:3000", r"at (\S+)"),
    "every local address": ("at 0.0.0.0:3000", r"at (\S+)"),
    "a number without url_host": ("Allocated port 41234 for", r"Allocated port (\d+)"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "pattern"), NOT_FOUND.values(), ids=NOT_FOUND)
def test_what_is_not_the_public_url_is_left(line: str, pattern: str) -> None:
    assert find(line, pattern) is None


def test_another_local_port_is_a_url_like_any_other() -> None:
    assert find("at 127.0.0.1:41234", r"at (\S+)") == "http://127.0.0.1:41234"


@pytest.mark.parametrize(
    ("match", "options", "url"),
    [
        ("bore.pub:1", {}, "http://bore.pub:1"),
        ("bore.pub:443", {"url_scheme": "https"}, "https://bore.pub"),
        ("bore.pub:1", {"url_scheme": "tcp"}, "tcp://bore.pub:1"),
        ("https://bore.pub:1", {"url_scheme": "tcp"}, "https://bore.pub:1"),
        ("41234", {"url_host": "relay.example"}, "http://relay.example:41234"),
        ("41234", {"url_host": "::1"}, "http://[::1]:41234"),
        ("41234", {"url_host": "relay.example", "url_scheme": "tcp"}, "tcp://relay.example:41234"),
        ("bore.pub:1", {"url_host": "relay.example"}, "http://bore.pub:1"),
    ],
)
def test_what_a_match_lacks_comes_from_the_settings(
    match: str, options: dict[str, str], url: str
) -> None:
    assert find(f"at {match} now", r"at (\S+)", **options) == url


def refused(pattern: str, **options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        find("", pattern, **options)
    return str(caught.value)


@pytest.mark.parametrize("pattern", ["", " ", "\t\n"])
def test_an_empty_pattern_is_refused(pattern: str) -> None:
    assert "it is empty, and would match everything" in refused(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["(a", "a)(", "(a**)", r"(a)\1", "(?=a)(b)", "(?<=a)(b)", "(a{1000}){1000}", "(\\", "([z-a])"],
)
def test_an_invalid_expression_is_refused_with_the_reason(pattern: str) -> None:
    assert "not a regular expression (RE2 syntax, without look-around): " in refused(pattern)


@pytest.mark.parametrize(
    "pattern",
    [".", ":", "/", "http", "https://", "://", "1", "com", ".com", r"(\S+)", "(.+)", "(http.*)",
     r"(https?://\S+)", r"(\S+:\d+)", r"([a-z0-9.:/]+)", r"\d (\S+)", r"INF (\S+)",
     r"(?i)(HTTPS://[^ ]+)", r"(\S+\.com\b\S*)"],
)  # fmt: skip
def test_a_pattern_that_takes_any_url_is_refused(pattern: str) -> None:
    assert "url_pattern matches any URL" in refused(pattern)


def test_a_pattern_that_takes_any_number_is_refused() -> None:
    assert "url_pattern matches any URL" in refused(r"(\d+)", url_host="relay.example")


@pytest.mark.parametrize("pattern", ["(.*)", "()", "(x)?", "(a|)", r"^(\s*)"])
def test_an_expression_that_matches_nothing_at_all_is_refused(pattern: str) -> None:
    assert "it matches an empty line" in refused(pattern)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"https://\S+", "put parentheses around the URL"),
        ("bore.*", "put parentheses around the URL"),
        ("^bore", "put parentheses around the URL"),
        ("(?:bore)", "put parentheses around the part"),
        ("https://[a-z-]+", "without a group it is plain text"),
        ("listening at", r"write: listening at (\S+)"),
        ("url: ", r"write: url: (\S+)"),
    ],
)
def test_text_that_could_never_match_is_refused_with_what_was_meant(
    pattern: str, said: str
) -> None:
    assert said in refused(pattern)


def test_the_brackets_of_an_address_are_no_expression() -> None:
    assert find("up at http://[2001:db8::1]:80", "[2001:db8::1]") == "http://[2001:db8::1]"


@pytest.mark.parametrize("pattern", [".", "(.+)", "()", " ", "qz", "http", "INF", r"(\d)"])
def test_readiness_is_not_found_in_any_line(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"tunnel\.custom\.ready_pattern: it "):
        validate(
            CustomConfig,
            {"command": "x", "public_url": "https://a.example", "ready_pattern": pattern},
            path="tunnel.custom",
        )


HOSTILE = {
    "backtracking": ("a" * 64_000 + "!", r"at ((?:a+)+)$"),
    "nested": ("a" * 64_000, r"((?:(?:a*)*)*)b$"),
    "a match at each character": ("ab" * 32_000, r"(a)(?:.*zzz)?"),
    "a word at each character": ("bore.pub " * 7_000, "bore.pub"),
    "one long word": ("bore.pub" * 8_000, "bore.pub"),
    "almost a URL": ("https://" * 8_000, r"at|(https://)"),
    "letters of the world": ("é" * 64_000, r"é at (\S+)"),
}


@pytest.mark.parametrize(("line", "pattern"), HOSTILE.values(), ids=HOSTILE)
def test_no_line_stalls_the_loop(line: str, pattern: str) -> None:
    from prx_tunnel_custom.announcement import Announcement
    from prx_tunnel_custom.pattern import read_pattern

    announcement = Announcement(read_pattern(pattern), "http", None)
    began = time.perf_counter()
    assert list(announcement.urls(line)) == []
    assert time.perf_counter() - began < 0.5


@given(st.text(), st.sampled_from(["bore.pub", r"at (\S+)", r"x(.*)y", "."]))
def test_any_line_gives_a_valid_url_or_none(line: str, pattern: str) -> None:
    from prx_tunnel_custom.announcement import Announcement
    from prx_tunnel_custom.pattern import read_pattern

    announcement = Announcement(read_pattern(pattern), "http", "relay.example")
    for text in (line, f"at {line}", f"at bore.pub:{line}"):
        for url in announcement.urls(printable(text)):
            assert ANY_URL.accept(url) == url
