"""URLs in what programs print: only the backend's own, and one spelling of each."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
from hypothesis import given
from hypothesis import strategies as st

from prx_tunnel_core.urls import ANY_URL, UrlRule, normalise
from support.fuzz import fuzz

RULE = UrlRule(hosts=["example.com"], not_hosts=["api.example.com"])
PIECES = st.sampled_from(
    ["https://", "http://", "HTTPS://", "//", "a.example.com", "example.com", ".example.com",
     "evil.test", "api.example.com", "@", ":", ":443", ":8080", "/", "\\", "?", "#", "[", "]",
     "::1", "0x7f.1", "127.0.0.1", "%", "%2e", ".", "..", "<", ">", "'", '"', " ", "\t",
     "xn--", "\u3002"]
)  # fmt: skip
LINES = st.lists(PIECES | st.text(max_size=3), max_size=10).map("".join)


@fuzz
@given(LINES)
def test_a_normalised_url_is_as_it_will_stay(text: str) -> None:
    try:
        url = normalise(text)
    except ValueError:
        return
    assert normalise(url) == url
    assert url.isascii()
    assert url.isprintable()
    parts = urlsplit(url)
    assert (parts.username, parts.password, parts.query, parts.fragment) == (None, None, "", "")
    assert parts.hostname


@fuzz
@given(LINES)
def test_what_a_rule_finds_is_its_own_for_another_parser_too(line: str) -> None:
    found = RULE.find(line)
    if found is not None:
        url = httpx.URL(found)
        assert url.scheme == "https"
        assert url.host.endswith(".example.com")
        assert url.host != "api.example.com"
        assert not url.userinfo
        assert url.port is None
        assert url.path in ("", "/")


@fuzz
@given(LINES)
def test_any_url_is_found_or_not(line: str) -> None:
    found = ANY_URL.find(line)
    assert found is None or normalise(found) == found
