"""What an address is: rules of ours, for every release of Python answers differently.

`ipaddress` has counted ::ffff:127.0.0.1 among the loopback addresses since 3.13, its list of what
is global changes with patch releases, and so does what `urlsplit` takes for a host.
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv6Address
from typing import Any

import pytest

from prx_tunnel_core._cli.views import exposure
from prx_tunnel_core._health.local_port import Listener
from prx_tunnel_core.access import is_public_request, visitor_address
from prx_tunnel_core.config import TunnelConfig, validate
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.models import TunnelInfo, VisitorHeaders
from prx_tunnel_core.urls import ANY_URL, bare, ip, is_loopback, is_public, leads_here, unmapped

# host: as text, is loopback, is of the internet, as `local_host`
ADDRESSES: dict[str, tuple[str | None, bool, bool, str | None]] = {
    "127.0.0.1": ("127.0.0.1", True, False, "127.0.0.1"),
    "127.255.255.254": ("127.255.255.254", True, False, "127.255.255.254"),
    "::1": ("::1", True, False, "::1"),
    "0:0:0:0:0:0:0:1": ("::1", True, False, "::1"),
    "::0.0.0.1": ("::1", True, False, "::1"),
    "[::1]": ("::1", True, False, None),
    "0.0.0.0": ("0.0.0.0", True, False, None),
    "::": ("::", True, False, None),
    # What only stands for an IPv4 address is that address; a target has to be written out.
    "::ffff:127.0.0.1": ("127.0.0.1", True, False, None),
    "::FFFF:7F00:1": ("127.0.0.1", True, False, None),
    "0:0:0:0:0:ffff:7f00:0001": ("127.0.0.1", True, False, None),
    "[::ffff:7f00:1]": ("127.0.0.1", True, False, None),
    "::ffff:0.0.0.0": ("0.0.0.0", True, False, None),
    "::ffff:10.0.0.1": ("10.0.0.1", False, False, None),
    "::ffff:8.8.8.8": ("8.8.8.8", False, True, None),
    # These are no such thing: no connection to them stays on this machine.
    "::127.0.0.1": ("::7f00:1", False, False, None),
    "::ffff:0:127.0.0.1": ("::ffff:0:7f00:1", False, False, None),
    "64:ff9b::127.0.0.1": ("64:ff9b::7f00:1", False, False, None),
    "64:ff9b:1::7f00:1": ("64:ff9b:1::7f00:1", False, False, None),
    "64:ff9b::8.8.8.8": ("64:ff9b::808:808", False, False, None),
    "2002:7f00:1::": ("2002:7f00:1::", False, False, None),
    "2002:808:808::1": ("2002:808:808::1", False, False, None),
    "2001::7f00:1": ("2001::7f00:1", False, False, None),
    "2001:20::1": ("2001:20::1", False, False, None),
    "2001:db8::1": ("2001:db8::1", False, False, None),
    "3fff::1": ("3fff::1", False, False, None),
    "fec0::1": ("fec0::1", False, False, None),
    "fd00::1": ("fd00::1", False, False, None),
    "fe80::1": ("fe80::1", False, False, None),
    "ff02::1": ("ff02::1", False, False, None),
    "2606:4700::1111": ("2606:4700::1111", False, True, None),
    "2A00:1450:4001:80B::200E": ("2a00:1450:4001:80b::200e", False, True, None),
    "10.1.2.3": ("10.1.2.3", False, False, None),
    "100.64.0.1": ("100.64.0.1", False, False, None),
    "169.254.169.254": ("169.254.169.254", False, False, None),
    "172.31.255.255": ("172.31.255.255", False, False, None),
    "192.0.0.9": ("192.0.0.9", False, False, None),
    "192.168.1.1": ("192.168.1.1", False, False, None),
    "224.0.0.1": ("224.0.0.1", False, False, None),
    "255.255.255.255": ("255.255.255.255", False, False, None),
    "8.8.8.8": ("8.8.8.8", False, True, None),
    "172.32.0.1": ("172.32.0.1", False, True, None),
    # With a zone, an address means something on one machine only.
    "::1%lo": (None, False, True, None),
    "::1%1": (None, False, True, None),
    "fe80::1%eth0": (None, False, True, None),
    "::ffff:127.0.0.1%lo": (None, False, True, None),
    "127.0.0.1%lo": (None, False, True, None),
    # Abbreviations and other notations: some programs read them, others look them up.
    "127.1": (None, False, True, None),
    "127.0.1": (None, False, True, None),
    "2130706433": (None, False, True, None),
    "0x7f000001": (None, False, True, None),
    "0x7f.1": (None, False, True, None),
    "0177.0.0.1": (None, False, True, None),
    "127.0.0.01": (None, False, True, None),
    "127\u30020\u30020\u30021": (None, False, True, None),
    "\uff11\uff12\uff17.0.0.1": (None, False, True, None),
    "\u0661\u0662\u0667.0.0.1": (None, False, True, None),
    "[127.0.0.1]": (None, False, True, None),
    "[::1": (None, False, True, None),
    "::1]": (None, False, True, None),
    " 127.0.0.1": (None, False, True, None),
    "127.0.0.1\n": (None, False, True, None),
    "127.0.0.1:80": (None, False, True, None),
    "127.0.0.1.evil.test": (None, False, True, None),
    "127.0.0.1.": (None, True, False, None),
    "127.0.0.1..": (None, False, True, None),
    "localhost": (None, True, False, "127.0.0.1"),
    "LocalHost": (None, True, False, None),
    "localhost.": (None, True, False, None),
    "a.LOCALHOST": (None, True, False, None),
    "localhost.example": (None, False, True, None),
}  # fmt: skip

EACH = pytest.mark.parametrize(("host", "rules"), ADDRESSES.items(), ids=map(ascii, ADDRESSES))


@EACH
def test_t08_an_address_is_the_same_for_every_python(host: str, rules: tuple[Any, ...]) -> None:
    address = ip(host)
    text = None if address is None else str(address)
    assert (text, is_loopback(host), is_public(host)) == rules[:3]


@EACH
def test_t08_a_target_is_written_out(host: str, rules: tuple[Any, ...]) -> None:
    if rules[3] is not None:
        assert validate(TunnelConfig, {"local_host": host}, path="tunnel").local_host == rules[3]
        return
    with pytest.raises(ConfigError, match=r"^tunnel\.local_host: a "):
        validate(TunnelConfig, {"local_host": host}, path="tunnel")


@EACH
def test_t08_a_client_is_here_or_it_is_not(host: str, rules: tuple[Any, ...]) -> None:
    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "headers": headers, "client": (host, 1), "server": ("127.0.0.1", 9)}
    assert is_public_request(scope, None, private_ports=[9]) != rules[1]


@EACH
def test_t08_a_visitor_is_an_address_from_elsewhere(host: str, rules: tuple[Any, ...]) -> None:
    marks = VisitorHeaders(always=("x-from",), address="x-from")
    info = TunnelInfo(
        public_url="https://a.example",
        backend="custom",
        local_port=3000,
        started_at=datetime.now(UTC),
        visitor_headers=marks,
    )
    scope = {"headers": [(b"x-from", host.strip().encode("utf-8"))]}
    shown = ip(host.strip())
    elsewhere = shown is not None and not is_loopback(host.strip())
    assert visitor_address(scope, info) == (rules[0] if elsewhere else None)


# What a program prints, and the URL that it is.
URLS: dict[str, str | None] = {
    "http://[2001:DB8:0::1]": "http://[2001:db8::1]",
    "http://[2001:DB8:0::1]:8080/": "http://[2001:db8::1]:8080",
    "http://[::ffff:7f00:1]:3000": "http://127.0.0.1:3000",
    "http://[::FFFF:127.0.0.1]:3000": "http://127.0.0.1:3000",
    "https://[::ffff:8.8.8.8]": "https://8.8.8.8",
    "http://[::127.0.0.1]": "http://[::7f00:1]",
    "http://[64:ff9b::7f00:1]": "http://[64:ff9b::7f00:1]",
    "http://127.0.0.1.:3000": "http://127.0.0.1:3000",
    "http://[::1]evil.test": None,
    "http://[::1].evil.test": None,
    "http://evil.test[::1]": None,
    "http://a[b]c": None,
    "http://[evil.test]": None,
    "http://[v1.evil]": None,
    "http://[127.0.0.1]": None,
    "http://[]": None,
    "http://[[::1]]": None,
    "http://[::1]]": None,
    "http://[::1]:": None,
    "http://[::1]:1:2": None,
    "http://[::1]:+1": None,
    "http://[::1%lo]": None,
    "http://[::1%25lo]": None,
    "http://a.example:1:2": None,
    "http://127\u30020\u30020\u30021": None,
    "\x01http://a.example": None,
    " http://a.example": None,
    "http://a.exa\tmple": None,
    "http://a.example\n": None,
    "http://a.example:\u0663": None,
    "http://a.example\u2100": None,
}


@pytest.mark.parametrize(("text", "url"), URLS.items(), ids=map(ascii, URLS))
def test_t08_a_url_is_the_same_for_every_python(text: str, url: str | None) -> None:
    if url is None:
        with pytest.raises(ValueError):
            ANY_URL.accept(text)
    else:
        assert ANY_URL.accept(text) == ANY_URL.accept(url) == url


@pytest.mark.parametrize("around", ["{}", "({}).", "[{}]", "<{}>", '"{}",', "see {}, please"])
@pytest.mark.parametrize("url", ["http://[2001:db8::1]", "http://[2001:db8::1]:8080"])
def test_t07_the_brackets_of_an_address_belong_to_it(url: str, around: str) -> None:
    assert ANY_URL.find(around.format(url)) == url


def test_t07_a_bracket_that_is_missing_is_not_added() -> None:
    assert ANY_URL.find("(at http://[2001:db8::1).") is None
    assert bare("[see http://[2001:db8::1") == "see http://[2001:db8::1"


def test_t08_what_stands_for_an_address_of_this_machine_leads_here() -> None:
    assert leads_here("http://[::ffff:7f00:1]:3000", 3000)
    assert not leads_here("http://[::7f00:1]:3000", 3000)
    here, everywhere = (
        TunnelConfig(),
        "this is PUBLIC: anyone with the URL can reach localhost:3000",
    )
    assert exposure("http://[::ffff:7f00:1]:3000", here) == ""
    assert exposure("http://[::ffff:0:0]:3000", here) == everywhere
    assert exposure("http://[2002:7f00:1::]:3000", here) == everywhere


def test_t08_a_listener_of_a_mapped_address_answers_for_it() -> None:
    listener = Listener(unmapped(IPv6Address("::ffff:127.0.0.1")), 3000, uid=0, inode=1)
    assert listener.answers("127.0.0.1")
    assert not listener.answers("::1")
