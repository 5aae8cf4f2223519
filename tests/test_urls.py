"""Which text is a public URL, and which only looks like one."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prx_tunnel_core.urls import (
    ANY_URL,
    SCHEMES,
    UrlRule,
    bare,
    is_loopback,
    join,
    leads_here,
    normalise,
)

QUICK = UrlRule(hosts=["trycloudflare.com"], not_hosts=["api.trycloudflare.com"])
GOOD = "https://quiet-river.trycloudflare.com"

ACCEPTED = {
    GOOD: GOOD,
    f"{GOOD}/": GOOD,
    "https://Quiet-River.TryCloudflare.COM": GOOD,
    "HTTPS://quiet-river.trycloudflare.com": GOOD,
    "https://quiet-river.trycloudflare.com.": GOOD,
    "https://quiet-river.trycloudflare.com:443": GOOD,
    "https://quiet-river.trycloudflare.com:0443/": GOOD,
    "https://a.b.trycloudflare.com": "https://a.b.trycloudflare.com",
    "https://xn--bcher-kva.trycloudflare.com": "https://xn--bcher-kva.trycloudflare.com",
    "https://a_b.trycloudflare.com": "https://a_b.trycloudflare.com",
    f"https://{'a' * 63}.trycloudflare.com": f"https://{'a' * 63}.trycloudflare.com",
}

# Each was, or could be, in a line that a program prints before or instead of the real URL.
SPOOFED = {
    "another host that begins like it": f"{GOOD}.evil.test",
    "as user information": f"{GOOD}@evil.test",
    "as user and password": f"{GOOD}:x@evil.test",
    "user information before it": "https://evil.test@quiet-river.trycloudflare.com",
    "empty user information": "https://@quiet-river.trycloudflare.com",
    "in a query": f"https://evil.test/?x={GOOD}",
    "in a path": f"https://evil.test/{GOOD}",
    "in a fragment": f"https://evil.test/#{GOOD}",
    "after a backslash": "https://evil.test\\.trycloudflare.com",
    "after two backslashes": "https:\\\\quiet-river.trycloudflare.com",
    "after a tab": "https://evil.test\t.trycloudflare.com",
    "after a line end": "https://evil.test\n.trycloudflare.com",
    "after a NUL": "https://evil.test\x00.trycloudflare.com",
    "after an encoded NUL": "https://evil.test%00.trycloudflare.com",
    "after an encoded slash": "https://evil.test%2f.trycloudflare.com",
    "after a semicolon": "https://evil.test;.trycloudflare.com",
    "after a comma": "https://evil.test,.trycloudflare.com",
    "inside of brackets": "https://[evil.test].trycloudflare.com",
    "after a space": "https://evil.test .trycloudflare.com",
    "glued to another ending": "https://eviltrycloudflare.com",
    "the ending itself": "https://trycloudflare.com",
    "the provider's own interface": "https://api.trycloudflare.com",
    "the provider's own, with a dot": "https://api.trycloudflare.com.",
    "the provider's own, shouted": "https://API.trycloudflare.com",
    "the provider's own, with a path": "https://api.trycloudflare.com/tunnel",
    "documentation": "https://developers.cloudflare.com/cloudflare-one/",
    "terms of use": "https://www.cloudflare.com/website-terms/",
    "plain http": "http://quiet-river.trycloudflare.com",
    "ftp": "ftp://quiet-river.trycloudflare.com",
    "javascript": "javascript://quiet-river.trycloudflare.com/%0aalert(1)",
    "no scheme": "quiet-river.trycloudflare.com",
    "no slashes": "https:quiet-river.trycloudflare.com",
    "one slash": "https:/quiet-river.trycloudflare.com",
    "three slashes": "https:///quiet-river.trycloudflare.com",
    "a port": f"{GOOD}:8443",
    "port zero": f"{GOOD}:0",
    "an empty port": f"{GOOD}:",
    "a port beyond the last": f"{GOOD}:65536",
    "a port with a sign": f"{GOOD}:+443",
    "a port with an underscore": f"{GOOD}:4_43",
    "a path": f"{GOOD}/tunnel",
    "a query": f"{GOOD}?x=1",
    "an empty query": f"{GOOD}?",
    "an empty fragment": f"{GOOD}#",
    "an empty label": "https://a..trycloudflare.com",
    "a leading dot": "https://.trycloudflare.com",
    "two trailing dots": f"{GOOD}..",
    "a label that begins with a hyphen": "https://-a.trycloudflare.com",
    "a label that ends with a hyphen": "https://a-.trycloudflare.com",
    "a label of 64": f"https://{'a' * 64}.trycloudflare.com",
    "a name of 254": f"https://{'a.' * 120}trycloudflare.com",
    "a Cyrillic letter": "https://quiet-r\u0456ver.trycloudflare.com",
    "a full-width dot": "https://quiet-river\uff0etrycloudflare.com",
    "an ideographic full stop": "https://evil.test\u3002trycloudflare.com",
    "a division slash": "https://evil.test\u2215.trycloudflare.com",
    "a right-to-left override": "https://\u202emoc.trycloudflare.com",
    "a zero-width space": "https://quiet\u200b-river.trycloudflare.com",
    "a wildcard": "https://*.trycloudflare.com",
    "a placeholder": "https://<name>.trycloudflare.com",
    "a template": "https://{name}.trycloudflare.com",
    "a variable": "https://${NAME}.trycloudflare.com",
    "longer than any URL": f"{GOOD}/{'a' * 3000}",
    "nothing": "",
    "a scheme only": "https://",
}


@pytest.mark.parametrize(("text", "url"), ACCEPTED.items())
def test_a_url_of_the_provider_is_normalised(text: str, url: str) -> None:
    assert QUICK.accept(text) == url


@pytest.mark.parametrize("text", SPOOFED.values(), ids=SPOOFED)
def test_what_only_looks_like_the_providers_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        QUICK.accept(text)


@pytest.mark.parametrize("text", SPOOFED.values(), ids=SPOOFED)
def test_a_disguise_hides_nothing_in_a_line_either(text: str) -> None:
    found = QUICK.find(f"ERR Visit it at ({text}), please")
    # What is in front of a blank or a bracket may be a URL; then it is one of the provider.
    assert found is None or found == GOOD


def test_hosts_are_compared_by_whole_labels_from_the_end() -> None:
    rule = UrlRule(hosts=["ts.net", "example.com"])
    assert rule.accept("https://box.tail1234.ts.net") == "https://box.tail1234.ts.net"
    assert rule.accept("https://a.example.com") == "https://a.example.com"
    with pytest.raises(ValueError, match=r"does not end in \.ts\.net or \.example\.com"):
        rule.accept("https://a.example.com.evil.test")


LINES = {
    "alone": GOOD,
    "in a box": f"|  {GOOD}                                       |",
    "in a box of lines": f"│{GOOD}│",
    "in angle brackets": f"Forwarding <{GOOD}>",
    "in a sentence": f"Your tunnel is at {GOOD}, have fun.",
    "at the end of a sentence": f"Your tunnel is at {GOOD}.",
    "in parentheses and a full stop": f"(see {GOOD}).",
    "in quotes": f'"{GOOD}"',
    "in Markdown": f"**{GOOD}**",
    "after the terms": (
        "By using this you agree (https://www.cloudflare.com/website-terms/), see "
        f"https://developers.cloudflare.com/x. {GOOD}"
    ),
    "after the provider's own": f'Post "https://api.trycloudflare.com/tunnel": then {GOOD}',
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_the_url_is_found_in_a_line(line: str) -> None:
    assert QUICK.find(line) == GOOD


@pytest.mark.parametrize(
    ("text", "url"),
    {
        "http://bore.pub:41234": "http://bore.pub:41234",
        "http://bore.pub:80/": "http://bore.pub",
        "https://a.example/hook/": "https://a.example/hook",
        "tcp://0.tcp.eu.ngrok.io:12345": "tcp://0.tcp.eu.ngrok.io:12345",
        "wss://a.example:443": "wss://a.example",
        "http://127.0.0.1:3000": "http://127.0.0.1:3000",
        "http://[::1]:3000": "http://[::1]:3000",
        "http://[2001:DB8:0::1]": "http://[2001:db8::1]",
        "http://localhost:8080": "http://localhost:8080",
    }.items(),
)
def test_any_url_takes_what_a_program_of_ones_own_may_print(text: str, url: str) -> None:
    assert ANY_URL.accept(text) == url
    assert ANY_URL.find(f"at {text}") == url
    assert ANY_URL.find(f"(at {text}).") == url


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd", "mailto:a@example.com", "data:text/html,x", "http://", "http://:3000",
        "tcp://a.example", "http://0x7f000001", "http://0x7f.1", "http://127.1", "http://2130706433",
        "http://0177.0.0.1", "http://1.2.3.999", "http://1.2.3", "http://[::1", "http://::1",
        "http://[fe80::1%eth0]", "http://[::ffff:1.2.3.4.5]", "http://[not-ipv6]:1",
        "http://a.example/`id`", "http://a.example/|x", "http://a.example/{}", "http://a.example/^",
    ],
)  # fmt: skip
def test_any_url_does_not_take_anything(text: str) -> None:
    with pytest.raises(ValueError):
        ANY_URL.accept(text)


@given(st.text(alphabet=st.characters() | st.sampled_from("htps:/.@?#[]\\%a1-_")))
@example("https://[")
@example("//[::1]:x")
def test_text_is_a_normal_url_or_a_value_error(text: str) -> None:
    for candidate in (text, f"https://{text}", f"https://a.trycloudflare.com{text}"):
        try:
            url = ANY_URL.accept(candidate)
        except ValueError:
            continue
        assert normalise(url) == url
        parts = urlsplit(url)
        assert parts.scheme in SCHEMES
        assert parts.hostname
        assert parts.hostname == parts.netloc.partition(":")[0] or "[" in parts.netloc
        assert parts.query == parts.fragment == ""


def test_a_long_line_of_would_be_urls_does_not_hold_up_a_loop() -> None:
    lines = ["https://x. " * 6000, "://" * 20_000, "https://" + "(" * 60_000, "a " * 32_000]
    began = time.thread_time()
    for line in lines:
        QUICK.find(line)
    assert time.thread_time() - began < 1.0


def test_bare_takes_off_what_text_puts_around_a_word() -> None:
    assert bare("(«bore.pub:41234»).") == "bore.pub:41234"
    assert bare("...") == "..."[:0]


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST", "localhost.", "app.localhost", "127.0.0.1", "127.1.2.3",
        "::1", "[::1]", "::ffff:127.0.0.1", "0.0.0.0", "::", "0:0:0:0:0:0:0:1",
    ],
)  # fmt: skip
def test_this_machine_is_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "localhost.example", "notlocalhost", "128.0.0.1", "127.0.0.1.example", "::2", "10.0.0.1"],
)
def test_another_machine_is_not_this_one(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        ("http://localhost:3000", True),
        ("tcp://127.1.2.3:3000/hook", True),
        ("http://0.0.0.0:3000", True),
        ("http://[::1]:3000", True),
        ("http://localhost:3001", False),
        ("http://localhost", False),
        ("http://a.example:3000", False),
    ],
)
def test_the_local_port_is_recognised(url: str, leads: bool) -> None:
    assert leads_here(url, 3000) == leads
    assert leads_here("https://localhost", 443)


@pytest.mark.parametrize(
    ("public_url", "path", "joined"),
    [
        ("https://a.example", "hook", "https://a.example/hook"),
        ("https://a.example/", "/hook", "https://a.example/hook"),
        ("https://a.example/agent", "//hook/", "https://a.example/agent/hook/"),
        ("https://a.example", "", "https://a.example/"),
    ],
)
def test_join_puts_one_slash_between(public_url: str, path: str, joined: str) -> None:
    assert join(public_url, path) == joined
