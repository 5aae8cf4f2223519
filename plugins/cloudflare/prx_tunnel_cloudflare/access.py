"""Cloudflare Access at the origin: accept only requests that passed through it.

Access adds the header `Cf-Access-Jwt-Assertion` to each request that it accepts. A request that
reaches the origin in another way can have the header too: only the signature proves anything. This
module needs the extra: `pip install prx-tunnel-cloudflare[access]`.

    verifier = AccessVerifier(team="example", audience="4714c1358e65fe4b408ad6d432a5f878f08194bdb4")
    app = AccessMiddleware(app, verifier)          # any ASGI application
    claims = verifier.verify(header)               # or by hand, in a synchronous one
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import anyio
import anyio.to_thread
import jwt

from prx_tunnel_cloudflare.access_keys import KeyStore, KeysUnavailable
from prx_tunnel_cloudflare.config import AccessConfig, team_name
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.middleware import App, Receive, Scope, Send, is_request, respond
from prx_tunnel_core.models import header_name
from prx_tunnel_core.text import one_line

__all__ = ["AccessDenied", "AccessMiddleware", "AccessVerifier", "KeysUnavailable"]

logger = get_logger("prx_tunnel_cloudflare.access")

HEADER = "cf-access-jwt-assertion"
CLAIMS = "cloudflare_access"
"""Where an ASGI application finds the claims: `scope["cloudflare_access"]`."""

_LEEWAY = 30  # seconds that the clocks may differ
_LONGEST = 16 * 1024  # characters; a token has about a thousand
_LONGEST_LOGGED = 500  # characters
_REQUIRED = ["exp", "iat", "aud", "iss"]


class AccessDenied(Exception):
    """The token is missing, or not one that Access made for this application."""


class AccessVerifier:
    """Verifies the tokens of one Access application.

    `team` is the part before `.cloudflareaccess.com`; `audience` the application's AUD tag, or
    several. `keys` is where the signing keys come from, by default the team's own address. Raises
    ValueError for an invalid team name or an empty audience.
    """

    def __init__(
        self, *, team: str, audience: str | Sequence[str], keys: KeyStore | None = None
    ) -> None:
        self._audience = [audience] if isinstance(audience, str) else list(audience)
        if not team or not all(self._audience) or not self._audience:
            raise ValueError("Access needs a team and an audience")
        self._issuer = f"https://{team_name(team)}.cloudflareaccess.com"
        self._keys = keys or KeyStore(f"{self._issuer}/cdn-cgi/access/certs")

    @classmethod
    def from_config(cls, config: AccessConfig) -> Self:
        """The verifier for `[tunnel.cloudflare.access]`."""
        return cls(team=config.team, audience=config.audience)

    def verify(self, token: str) -> Mapping[str, Any]:
        """The claims of the token: `email`, or `common_name` of a service token, and others.

        May ask Cloudflare for new keys, and wait for the answer. Raises AccessDenied when the token
        is not good, KeysUnavailable when that cannot be found out.
        """
        key_id = _key_id(token)
        return self._decode(token, self._keys.known(key_id) or self._keys.find(key_id))

    async def verify_async(self, token: str) -> Mapping[str, Any]:
        """The same, without blocking the loop: only looking for a new key takes a thread."""
        key_id = _key_id(token)
        key = self._keys.known(key_id)
        if key is None:
            # One at a time: invented key names delay only other unknown keys.
            async with self._keys.turn:
                key = await anyio.to_thread.run_sync(self._keys.find, key_id)
        return self._decode(token, key)

    def _decode(self, token: str, key: jwt.PyJWK | None) -> Mapping[str, Any]:
        if key is None:
            raise AccessDenied("the token is signed with a key that the team does not have")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._audience,
                issuer=self._issuer,
                leeway=_LEEWAY,
                options={"require": _REQUIRED},
            )
        except jwt.InvalidTokenError as error:
            raise AccessDenied(f"{type(error).__name__}: {error}") from None
        return claims


def _key_id(token: str) -> str:
    if len(token) > _LONGEST:
        raise AccessDenied("the token is far too long")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError) as error:
        raise AccessDenied(f"not a token: {error}") from None
    key_id = header.get("kid")
    # Before anything is fetched: a forged header must not cause a request.
    if header.get("alg") != "RS256" or not isinstance(key_id, str):
        raise AccessDenied("the token is not signed as Access signs")
    return key_id


class AccessMiddleware:
    """ASGI: answers 403 without a valid token, 503 while the keys are unavailable.

    The application finds the claims in `scope["cloudflare_access"]`.
    """

    def __init__(self, app: App, verifier: AccessVerifier) -> None:
        self._app = app
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_request(scope):
            await self._app(scope, receive, send)
            return
        try:
            claims = await self._verifier.verify_async(_token(scope))
        except AccessDenied as reason:
            what = one_line(f"{scope.get('path')}: {reason}")
            logger.warning("refused %s", what[:_LONGEST_LOGGED])
            await respond(scope, receive, send, 403)
        except KeysUnavailable as reason:
            logger.warning("cannot verify tokens: %s", reason)
            await respond(scope, receive, send, 503, [(b"retry-after", b"10")])
        else:
            await self._app({**scope, CLAIMS: claims}, receive, send)


def _token(scope: Mapping[str, Any]) -> str:
    found = [value for name, value in scope["headers"] if header_name(name) == HEADER]
    if len(found) != 1:
        raise AccessDenied("the header Cf-Access-Jwt-Assertion is missing, or there are several")
    return str(found[0], "latin-1")
