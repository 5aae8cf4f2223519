"""Access at the origin, with real keys and a real server that hands out the public ones."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prx_tunnel_cloudflare.access import (
    AccessDenied,
    AccessMiddleware,
    AccessVerifier,
    KeysUnavailable,
)
from prx_tunnel_cloudflare.access_keys import KEPT, LIFESPAN, PAUSE, KeyStore
from prx_tunnel_cloudflare.settings import AccessConfig

TEAM = "https://example.cloudflareaccess.com"
AUDIENCE = "737646a56ab1df6ec9bddc7e5ca84eaf3b0768850f3ffb5d74f1534911fe3893"
KEYS = {name: rsa.generate_private_key(65537, 2048) for name in ("first", "second")}


class Team:
    """The team's address: serves the public keys of `current`, unless it is down."""

    def __init__(self) -> None:
        self.current = ["first"]
        self.answer: tuple[int, bytes] | None = None
        self.requests = 0
        team = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                team.requests += 1
                status, body = team.answer or (200, team.public_keys())
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/cdn-cgi/access/certs"

    def public_keys(self) -> bytes:
        keys = []
        for name in self.current:
            key = jwt.algorithms.RSAAlgorithm.to_jwk(KEYS[name].public_key(), as_dict=True)
            keys.append({**key, "kid": name, "alg": "RS256", "use": "sig"})
        return json.dumps({"keys": keys, "public_cert": {}, "public_certs": []}).encode()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def team() -> Iterator[Team]:
    team = Team()
    yield team
    team.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(team: Team, clock: Clock) -> AccessVerifier:
    keys = KeyStore(team.url, clock=clock)
    return AccessVerifier(team="example", audience=AUDIENCE, keys=keys)


def claims(**changes: Any) -> dict[str, Any]:
    """As recorded in d09-access-required; None leaves a claim out."""
    now = int(time.time())
    made = {
        "aud": [AUDIENCE],
        "email": "user@example.com",
        "exp": now + 3600,
        "iat": now,
        "nbf": now,
        "iss": TEAM,
        "sub": "348ec2d3-7257-47b5-a422-4297f2a1573b",
        "type": "app",
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def mint(key: str = "first", *, kid: str | None = None, **changes: Any) -> str:
    headers = {"kid": kid or key}
    return jwt.encode(claims(**changes), KEYS[key], algorithm="RS256", headers=headers)


def unsigned(algorithm: str, kid: str = "first") -> str:
    """A token that claims to need no signature, as older libraries believed."""
    parts = [{"alg": algorithm, "kid": kid, "typ": "JWT"}, claims()]
    encoded = [jwt.utils.base64url_encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join([*encoded, ""])


def signed_with_the_public_key() -> str:
    """HS256 with the public key as secret: accepted by whoever lets the token choose."""
    public = KEYS["first"].public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    head = jwt.utils.base64url_encode(b'{"alg":"HS256","kid":"first","typ":"JWT"}')
    body = head + b"." + jwt.utils.base64url_encode(json.dumps(claims()).encode())
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return (body + b"." + jwt.utils.base64url_encode(algorithm.sign(body, public))).decode()


def test_a_good_token(verifier: AccessVerifier, team: Team) -> None:
    assert verifier.verify(mint())["email"] == "user@example.com"
    assert verifier.verify(mint())["sub"]
    assert team.requests == 1


def test_clocks_may_differ_a_little(verifier: AccessVerifier) -> None:
    now = int(time.time())
    assert verifier.verify(mint(exp=now - 20))
    assert verifier.verify(mint(iat=now + 20, nbf=now + 20))


BAD: dict[str, Callable[[], str]] = {
    "expired": lambda: mint(exp=int(time.time()) - 60),
    "not yet valid": lambda: mint(nbf=int(time.time()) + 600),
    "from the future": lambda: mint(iat=int(time.time()) + 600),
    "no expiry": lambda: mint(exp=None),
    "no issue time": lambda: mint(iat=None),
    "wrong audience": lambda: mint(aud=["0" * 64]),
    "no audience": lambda: mint(aud=None),
    "wrong issuer": lambda: mint(iss="https://evil.cloudflareaccess.com"),
    "no issuer": lambda: mint(iss=None),
    "another key under that name": lambda: mint("second", kid="first"),
    "a key that is not the team's": lambda: mint("second"),
    "none": lambda: unsigned("none"),
    "None": lambda: unsigned("None"),
    "without signature": lambda: unsigned("RS256"),
    "HS256 with the public key": signed_with_the_public_key,
    "ES256": lambda: jwt.encode(
        claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "first"}
    ),
    "RS512": lambda: jwt.encode(claims(), KEYS["first"], "RS512", headers={"kid": "first"}),
    "no key name": lambda: jwt.encode(claims(), KEYS["first"], "RS256"),
    "changed": lambda: mint()[:-8] + "AAAAAAAA",
    "empty": lambda: "",
    "garbage": lambda: "garbage",
    "dots": lambda: "..",
    "not base64": lambda: "é.é.é",
    "not JSON": lambda: "bm90.bm90.bm90",
    "huge": lambda: "a" * 1_000_000,
}


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


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "reached", "claims": scope.get("cloudflare_access")})


async def ask(
    verifier: AccessVerifier, headers: list[tuple[bytes, bytes]], kind: str = "http"
) -> list[Mapping[str, Any]]:
    sent: list[Mapping[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": f"{kind}.connect"}

    middleware = AccessMiddleware(application, verifier)
    await middleware({"type": kind, "path": "/hook", "headers": headers}, receive, send)
    return sent


@pytest.mark.anyio
async def test_middleware_lets_in(verifier: AccessVerifier) -> None:
    headers = [(b"host", b"x"), (b"cf-access-jwt-assertion", mint().encode())]
    for kind in ("http", "websocket"):
        (message,) = await ask(verifier, headers, kind)
        assert message["claims"]["email"] == "user@example.com"


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["expired", "wrong audience", "none", "garbage", "not base64"])
async def test_middleware_keeps_out(verifier: AccessVerifier, name: str) -> None:
    token = BAD[name]().encode("latin-1")
    start, body = await ask(verifier, [(b"cf-access-jwt-assertion", token)])
    assert start["status"] == 403
    assert body["body"] == b"Forbidden\n"


@pytest.mark.anyio
async def test_middleware_wants_exactly_one_header(verifier: AccessVerifier) -> None:
    header = (b"cf-access-jwt-assertion", mint().encode())
    cookie = (b"cookie", b"CF_Authorization=" + mint().encode())
    for headers in ([], [header, header], [cookie]):
        start, _ = await ask(verifier, headers)
        assert start["status"] == 403
    (closed,) = await ask(verifier, [], "websocket")
    assert closed == {"type": "websocket.close", "code": 1008}


@pytest.mark.anyio
async def test_middleware_while_the_team_is_down(verifier: AccessVerifier, team: Team) -> None:
    team.answer = (500, b"")
    headers = [(b"cf-access-jwt-assertion", mint().encode())]
    start, _ = await ask(verifier, headers)
    assert start["status"] == 503
    assert (b"retry-after", b"10") in start["headers"]
    (closed,) = await ask(verifier, headers, "websocket")
    assert closed["code"] == 1013


@pytest.mark.anyio
async def test_middleware_leaves_the_lifespan_alone(verifier: AccessVerifier) -> None:
    (message,) = await ask(verifier, [], "lifespan")
    assert message == {"type": "reached", "claims": None}


@pytest.mark.anyio
async def test_many_at_once_ask_for_the_keys_once(verifier: AccessVerifier, team: Team) -> None:
    headers = [(b"cf-access-jwt-assertion", mint().encode())]
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask, verifier, headers)
    assert team.requests == 1
