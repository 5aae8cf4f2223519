"""The token or the credentials file of a tunnel, read and checked for its form.

A malformed secret is rejected before anything runs: cloudflared only reports "not valid", and over
QUIC nothing at all.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from prx_tunnel_core import trust
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.expansion import expand_home

_LARGEST = 64 * 1024  # bytes; a token has about 200, a credentials file about 180


@dataclass(frozen=True, slots=True)
class Credentials:
    """The secrets of one attempt; `hidden` are all texts that have to be masked."""

    token: SecretStr | None = None
    hidden: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "<Credentials>"


def load_credentials(
    *,
    token: SecretStr | None = None,
    token_file: str | None = None,
    credentials_file: str | None = None,
    tunnel_id: str | None = None,
) -> Credentials:
    """Read at each attempt, so that a renewed file is seen. Raises SetupError."""
    if credentials_file is not None:
        return Credentials(hidden=(_tunnel_secret(credentials_file, tunnel_id),))
    if token_file is not None:
        text = _read_token(token_file)
    elif token is not None:
        text = token.get_secret_value().strip()
    else:
        return Credentials()
    return Credentials(SecretStr(text), hidden=(text, str(_decode(text)["s"])))


def check_token(token: str) -> None:
    """Raise ValueError, without the value, when cloudflared could not read the token."""
    _decode(token)


def _decode(token: str) -> dict[str, Any]:
    token = token.strip()
    fix = "copy the whole token, which begins with eyJ, from the tunnel's page"
    if any(character.isspace() for character in token):
        raise ValueError(f"the token has spaces; {fix}, without the command around it")
    if len(token) % 4:
        raise ValueError(f"the token is cut short (its base64 padding '=' is missing); {fix}")
    try:
        content = json.loads(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError):
        raise ValueError(f"the token is not a Cloudflare tunnel token; {fix}") from None
    parts = [content.get(key) if isinstance(content, dict) else None for key in "ats"]
    if not all(isinstance(part, str) and part for part in parts):
        raise ValueError(f"the token lacks the account, the tunnel or the secret; {fix}")
    return dict(content)


def _read_token(path: str) -> str:
    key = "tunnel.cloudflare.token_file"
    text = _read(path, key).strip()
    try:
        check_token(text)
    except ValueError as error:
        raise SetupError(f"{key}: {path}: {error}") from None
    return text


def _tunnel_secret(path: str, tunnel_id: str | None) -> str:
    key = "tunnel.cloudflare.credentials_file"
    fix = "it is the <tunnel id>.json that `cloudflared tunnel create` wrote"
    try:
        content = json.loads(_read(path, key))
        secret, owner = str(content["TunnelSecret"]), str(content["TunnelID"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SetupError(f"{key}: {path} is not a tunnel credentials file; {fix}") from None
    if owner.lower() != (tunnel_id or "").lower():
        raise SetupError(f"{key}: {path} belongs to another tunnel than tunnel_id; {fix}")
    return secret


def _read(path: str, key: str) -> str:
    """The content of a small regular file; does not block on a pipe or a device."""
    full = expand_home(path, key)
    try:
        handle = trust.open_file(full)
    except (OSError, ValueError) as error:
        raise SetupError(f"{key}: {path}: {getattr(error, 'strerror', error)}") from None
    try:
        if os.fstat(handle).st_size > _LARGEST:
            raise SetupError(f"{key}: {path} is far too large")
        content = os.read(handle, _LARGEST)
    finally:
        os.close(handle)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SetupError(f"{key}: {path} is not a text file") from None
