"""Access at the origin, with real keys and a real server that hands out the public ones."""

from __future__ import annotations

import time

import pytest
from cloudflare_kit.team import AUDIENCE, BAD, Clock, Team, mint
from prx_tunnel_cloudflare.access import AccessDenied, AccessVerifier, KeysUnavailable
from prx_tunnel_cloudflare.access_keys import KEPT, LIFESPAN, PAUSE, KeyStore
from prx_tunnel_cloudflare.config import AccessConfig


def test_a_good_token(verifier: AccessVerifier, team: Team) -> None:
    assert verifier.verify(mint())["email"] == "user@example.com"
    assert verifier.verify(mint())["sub"]
    assert team.requests == 1


def test_clocks_may_differ_a_little(verifier: AccessVerifier) -> None:
    now = int(time.time())
    assert verifier.verify(mint(exp=now - 20))
    assert verifier.verify(mint(iat=now + 20, nbf=now + 20))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token(verifier: AccessVerifier, name: str) -> None:
    with pytest.raises(AccessDenied) as denied:
        verifier.verify(BAD[name]())
    assert len(str(denied.value)) < 300


def test_a_forged_header_costs_no_request(verifier: AccessVerifier, team: Team) -> None:
    for name in ("none", "HS256 with the public key", "ES256", "no key name", "garbage", "huge"):
        with pytest.raises(AccessDenied):
            verifier.verify(BAD[name]())
    assert team.requests == 0


def test_several_audiences(team: Team) -> None:
    verifier = AccessVerifier(
        team="example", audience=["0" * 64, AUDIENCE], keys=KeyStore(team.url)
    )
    assert verifier.verify(mint())


def test_from_the_configuration() -> None:
    config = AccessConfig(team="example", audience=AUDIENCE)
    assert isinstance(AccessVerifier.from_config(config), AccessVerifier)
    for team, audience in (("", AUDIENCE), ("example", ""), ("example", [])):
        with pytest.raises(ValueError, match="team and an audience"):
            AccessVerifier(team=team, audience=audience)


@pytest.mark.parametrize(
    "team",
    [
        "evil.com/#", "evil.com#", "evil.com?", "evil.com/", "evil.com\\", "a@evil.com",
        "evil.com:443", "a.b", "-a", "a-", "A", "é", "a b", "a\n", "a%2e", ".", "..", "a" * 64,
        "http://example", "https://evil.com/.cloudflareaccess.com", "https://https://example",
    ],
)  # fmt: skip
def test_s16_a_team_that_is_no_label_of_a_host_is_refused(team: str) -> None:
    with pytest.raises(ValueError, match="is not a team name"):
        AccessVerifier(team=team, audience=AUDIENCE)


@pytest.mark.parametrize("team", ["example", "https://example.cloudflareaccess.com/"])
def test_s16_a_team_may_be_given_as_its_address(team: str) -> None:
    verifier = AccessVerifier(team=team, audience=AUDIENCE)
    assert verifier._issuer == "https://example.cloudflareaccess.com"


def test_keys_rotate(verifier: AccessVerifier, team: Team, clock: Clock) -> None:
    assert verifier.verify(mint("first"))
    team.current = ["second", "first"]
    clock.now += PAUSE
    assert verifier.verify(mint("second"))
    assert verifier.verify(mint("first"))
    assert team.requests == 2
    team.current = ["second"]
    clock.now += LIFESPAN
    assert verifier.verify(mint("second"))
    with pytest.raises(AccessDenied, match="key that the team does not have"):
        verifier.verify(mint("first"))
    assert team.requests == 3


def test_made_up_key_names_do_not_set_the_pace(
    verifier: AccessVerifier, team: Team, clock: Clock
) -> None:
    assert verifier.verify(mint())
    for number in range(50):
        with pytest.raises(AccessDenied):
            verifier.verify(mint("second", kid=f"made-up-{number}"))
    assert team.requests == 1
    clock.now += PAUSE
    with pytest.raises(AccessDenied):
        verifier.verify(mint("second", kid="made-up"))
    assert team.requests == 2


DOWN: list[tuple[int, bytes]] = [
    (500, b"oops"),
    (302, b""),
    (200, b"<html>"),
    (200, b"[]"),
    (200, b'{"keys":[]}'),
    (200, b'{"keys":[{"kty":"RSA"}]}'),
    (200, b'{"keys":null}'),
    (200, b"x" * 1_000_000),
]


@pytest.mark.parametrize("answer", DOWN, ids=lambda answer: str(answer)[:30])
def test_no_keys_is_no_verdict(
    verifier: AccessVerifier, team: Team, clock: Clock, answer: tuple[int, bytes]
) -> None:
    team.answer = answer
    for _ in range(3):
        with pytest.raises(KeysUnavailable, match="no keys from"):
            verifier.verify(mint())
    assert team.requests == 1
    team.answer = None
    clock.now += PAUSE
    assert verifier.verify(mint())


def test_known_keys_serve_while_the_team_is_down(
    verifier: AccessVerifier, team: Team, clock: Clock
) -> None:
    assert verifier.verify(mint())
    team.close()
    clock.now += LIFESPAN
    assert verifier.verify(mint())
    with pytest.raises(AccessDenied):
        verifier.verify(mint("second"))
    clock.now += KEPT
    with pytest.raises(KeysUnavailable):
        verifier.verify(mint())
    team.server.shutdown = lambda: None  # type: ignore[method-assign] # closed already
