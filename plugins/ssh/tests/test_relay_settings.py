"""What a relay counts, allows and calls things."""

from __future__ import annotations

import json

import pytest
from prx_tunnel_ssh.relay.limits import Places, Rate, source_of
from prx_tunnel_ssh.relay.log import line
from prx_tunnel_ssh.relay.settings import Ports, Site, parse_ports, site_name


def test_ports() -> None:
    ports = parse_ports("0, 8080, 20000-20002")
    assert [ports.allows(n) for n in (0, 8080, 20_000, 20_002)] == [True] * 4
    assert [ports.allows(n) for n in (8081, 19_999, 20_003)] == [False] * 3
    assert not parse_ports("8080").allows(0)


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "2-1", "0-5", "65536", "1,,2"])
def test_what_is_no_list_of_ports(text: str) -> None:
    with pytest.raises(ValueError, match=r"is neither a port nor|is not within"):
        parse_ports(text)


def test_a_chosen_port_is_the_same_for_the_same_owner() -> None:
    ports = parse_ports("0,20000-29999")
    mine = list(ports.candidates(0, "SHA256:me"))
    assert mine == list(ports.candidates(0, "SHA256:me"))
    assert mine[0] != next(ports.candidates(0, "SHA256:you"))
    assert all(20_000 <= port < 30_000 for port in mine)
    assert len(set(mine)) == len(mine) > 1
    assert list(ports.candidates(8080, "SHA256:me")) == [8080]
    assert list(Ports().candidates(0, "SHA256:me")) == [0]


@pytest.mark.parametrize(("many", "tries"), [(1, 1), (63, 63), (64, 64), (65, 64)])
def test_at_most_sixty_four_ports_are_tried(many: int, tries: int) -> None:
    ports = parse_ports(f"0,20000-{20_000 + many - 1}")
    assert len(set(ports.candidates(0, "SHA256:me"))) == tries


def test_a_name_belongs_to_a_key() -> None:
    plain = site_name(b"key", "localhost")
    assert plain == site_name(b"key", "") == site_name(b"key", "0.0.0.0")
    assert site_name(b"key", "Billing") == f"billing-{plain}"
    assert site_name(b"other", "billing") != site_name(b"key", "billing")
    assert all(len(site_name(b"key", "x" * n)) <= 63 for n in range(100))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a1.t.test", "a1"),
        ("A1.T.Test:8443", "a1"),
        ("a1.t.test.", "a1"),
        ("t.test", None),
        ("a1.other.test", None),
        ("a1.t.test.evil.test", None),
        ("x.a1.t.test", None),
        ("[::1]", None),
        ("", None),
    ],
)
def test_the_tunnel_that_a_host_header_means(host: str, name: str | None) -> None:
    assert Site("t.test", "https://{name}.t.test").name_of(host) == name


def test_places() -> None:
    places = Places(2)
    assert [places.take("a"), places.take("a"), places.take("a")] == [True, True, False]
    assert places.take("b")
    places.give_back("a")
    assert places.take("a")
    for holder in ("a", "a", "b"):
        places.give_back(holder)
    assert len(places) == 0


def test_a_rate_is_a_burst_and_then_a_trickle() -> None:
    now = 0.0
    rate = Rate(60, clock=lambda: now)
    assert [rate.allows("a") for _ in range(61)] == [True] * 60 + [False]
    assert rate.allows("b")
    now = 1.0
    assert [rate.allows("a"), rate.allows("a")] == [True, False]


def test_sources_that_are_long_gone_are_forgotten() -> None:
    now = 0.0
    rate = Rate(1, clock=lambda: now)
    for number in range(10_000):
        rate.allows(str(number))
    now = 61.0
    rate.allows("one more")
    assert len(rate._buckets) == 1


def test_whom_an_address_stands_for() -> None:
    assert source_of("192.0.2.7") == "192.0.2.7"
    assert source_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff") == "2001:db8::/64"
    assert source_of("fe80::1%eth0") == "fe80::/64"


def test_a_line_of_the_log_cannot_be_forged() -> None:
    assert line("key refused", user="x", port=0, none=None) == "key refused user=x port=0"
    forged = line("key refused", user='x\nINFO authenticated fingerprint="a"\x1b[2J')
    assert forged.isprintable()
    assert isinstance(json.loads(forged.removeprefix("key refused user=")), str)
