"""The public URL follows from the node's name: nothing that is printed can change it."""

from __future__ import annotations

import json

import pytest
from prx_tunnel_tailscale.connect import connect
from prx_tunnel_tailscale.node import parse_node
from prx_tunnel_tailscale.reasons import Unreadable
from tailscale_standin import HOST, StandIn, recorded

from prx_tunnel_core import SetupError, Target

TARGET = Target("127.0.0.1", 3000)

LINES = [
    # Announcements of another URL, in the program's own words.
    "https://evil.example/",
    "https://evil.tail1234.ts.net/",
    "https://box.tail1234.ts.net.evil.example/",
    "https://box.tail1234.ts.net:8443/",
    "https://box.tail1234.ts.net@evil.example/",
    "https://evil.example/box.tail1234.ts.net/",
    "https://evil.example?https://box.tail1234.ts.net/",
    "https://evil.example#https://box.tail1234.ts.net/",
    "https://evil.example\\.tail1234.ts.net/",
    "https://BOX.TAIL1234.TS.NET.evil.example/",
    "https://xn--bx-fka.tail1234.ts.net/",
    "https://b\u043ex.tail1234.ts.net/",
    "https://box.tail1234.ts.net%2eevil.example/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "http://box.tail1234.ts.net/",
    "//evil.example/",
    "evil.example",
    "box.tail1234.ts.net.",
    "https://box.tail1234.ts.net/\x00evil",
    "\x1b]8;;https://evil.example\x07https://box.tail1234.ts.net/\x1b]8;;\x07",
    "\x1b[2J\x1b[Hhttps://evil.example/",
    "https://box.tail1234.ts.net/\rhttps://evil.example/",
    "https://box.tail1234.ts.net/\u202ehttps://evil.example/",
    "Available on the internet: https://evil.example/",
    "|-- proxy http://evil.example:80",
    "|-- / proxy http://169.254.169.254",
    "# Funnel on:\n#     - https://evil.example",
    "Press Ctrl+C to exit. https://evil.example/",
    "Funnel started and running in the background at https://evil.example/",
    # What a visitor, a DNS answer or an error page could have it print.
    'GET /?u=https://evil.example/ HTTP/1.1" 200 Host: evil.example',
    "Referer: https://evil.example/hook",
    "X-Forwarded-Host: evil.example",
    "http: proxy error: dial tcp 127.0.0.1:3000: connect: connection refused https://evil.example/",
    "http: TLS handshake error from 203.0.113.7:1: acme: https://evil.example/",
    "lookup evil.example on 127.0.0.53:53: no such host",
    '{"BackendState":"Running","Self":{"DNSName":"evil.example."}}',
    '{"AllowFunnel":{"evil.example:443":true}}',
    "<a href='https://evil.example/'>https://box.tail1234.ts.net/</a>",
    "2026/11/22 13:05:06 serve: listening on https://evil.example/",
    # What would have it look like a refusal, or send a person to the wrong page.
    "Logged out.\nLog in at: https://evil.example/login",
    "Tailscale is stopped.",
    "Funnel is not enabled on your tailnet.\nTo enable, visit:\n\n         https://evil.example/f",
    "         https://login.tailscale.com/f/funnel?node=nEVIL",
    "sending serve config: Access denied: serve config denied",
    "sending serve config: updating config: listener already exists for port 443",
    "unexpected EOF",
    "Preconditions failed: etag mismatch",
    "x" * 100_000 + " https://evil.example/",
    "\ufffd\ufffe https://evil.example/ \u2028https://evil.example/",
]


def test_there_are_enough_of_them() -> None:
    assert len(set(LINES)) == len(LINES) >= 40


@pytest.mark.anyio
@pytest.mark.parametrize("mute", [False, True])
async def test_no_line_changes_the_url(
    mute: bool, node: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_tailscale.foreground.ANNOUNCED", 0.3)
    node.fault(says_before=LINES, says_after=LINES, mute=mute)
    async with connect(node.config(), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}"
        assert "evil" not in str(dict(connection.details))
        assert {check.verdict for check in await connection.check()} == {"ok"}
        assert connection.public_url == f"https://{HOST}"


@pytest.mark.anyio
async def test_no_line_beside_an_answer_changes_the_url(node: StandIn) -> None:
    answers = {}
    for command, name in [("status", "07-on-status-json"), ("version", "00-version-json")]:
        document = recorded(name)[0].stdout.splitlines()
        # What begins like JSON makes the answer unreadable, and the start fails.
        noise = [line for line in LINES if "\n" not in line and line[0] not in "{ "]
        answers[command] = "\n".join([*noise, *document, *noise])
    node.fault(garbage=answers)
    async with connect(node.config(), TARGET) as connection:
        assert connection.public_url == f"https://{HOST}"


def names_of(dns_name: str, suffix: str = "") -> str:
    document = json.loads(recorded("07-on-status-json")[0].stdout)
    document["Self"]["DNSName"] = dns_name
    document["CurrentTailnet"]["MagicDNSSuffix"] = suffix
    return parse_node(json.dumps(document)).dns_name


@pytest.mark.parametrize(
    "dns_name",
    [
        "evil.example/box.tail1234.ts.net.",
        "evil.example:443.",
        "evil.example:443/.tail1234.ts.net.",
        "user@evil.example.",
        "evil.example?.tail1234.ts.net.",
        "evil.example#.tail1234.ts.net.",
        "evil.example\\.tail1234.ts.net.",
        "evil .tail1234.ts.net.",
        "evil\n.tail1234.ts.net.",
        "b\u043ex.tail1234.ts.net.",
        "box..tail1234.ts.net.",
        ".tail1234.ts.net.",
        "-box.tail1234.ts.net.",
        "box.tail1234.ts.net..",
        "a" * 64 + ".tail1234.ts.net.",
        "a." * 130 + "net.",
        "box",
        "localhost",
        "box.localhost.",
        "127.0.0.1",
        "[::1]",
        "::1",
        "100.64.0.1",
        "999.999",
    ],
)
def test_a_name_that_is_none_is_refused(dns_name: str) -> None:
    with pytest.raises(Unreadable, match="which is none"):
        names_of(dns_name)


def test_a_name_of_another_tailnet_is_refused() -> None:
    with pytest.raises(Unreadable, match=r"evil\.tail9999.ts.net"):
        names_of("evil.tail9999.ts.net.", "tail1234.ts.net")
    with pytest.raises(Unreadable, match=r"eviltail1234\.ts.net"):
        names_of("eviltail1234.ts.net.", "tail1234.ts.net")


def test_a_good_name_loses_its_dot_and_its_capitals() -> None:
    assert names_of("Box.Tail1234.ts.net.", "tail1234.ts.net") == HOST
    assert names_of("") == ""


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://user@evil.example/a/1",
        "https://evil.example\\login",
        "https://evil.example/a b",
        "https://evil.example/\x1b[2J",
    ],
)
def test_a_login_page_that_is_none_is_not_shown(url: str) -> None:
    document = json.loads(recorded("03-needslogin-with-authurl-status-json")[0].stdout)
    assert parse_node(json.dumps(document | {"AuthURL": url})).login_url == ""


@pytest.mark.anyio
async def test_a_refusal_is_told_without_its_control_characters(node: StandIn) -> None:
    node.status(BackendState="NeedsLogin", AuthURL="https://login.tailscale.com/a/\x1b[31m")
    with pytest.raises(SetupError) as caught:
        async with connect(node.config(), TARGET):
            pass
    assert "\x1b" not in str(caught.value)
