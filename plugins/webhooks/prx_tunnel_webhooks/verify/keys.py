"""A secret, or several while one takes the place of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pydantic import SecretStr

Secret: TypeAlias = "str | bytes | SecretStr"
Secrets: TypeAlias = "Secret | Sequence[Secret]"


def texts(secret: Secrets) -> list[str]:
    """Raises ValueError without a secret: with an empty key, anyone could sign."""
    several = secret if isinstance(secret, list | tuple) else [secret]
    plain = [_plain(each) for each in several]
    if not plain or not all(plain):
        raise ValueError("a webhook cannot be verified without its secret")
    return plain


def keys(secret: Secrets) -> list[bytes]:
    return [text.encode() for text in texts(secret)]


def _plain(secret: object) -> str:
    match secret:
        case str():
            return secret
        case bytes():
            return secret.decode()
        case None:
            return ""
        case _:
            return str(getattr(secret, "get_secret_value", str)())
