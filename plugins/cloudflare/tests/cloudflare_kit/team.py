"""An Access team: its keys, the server that hands out the public ones, and tokens of all kinds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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
