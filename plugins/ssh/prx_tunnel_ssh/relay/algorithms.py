"""The algorithms and keys that the relay accepts: no SHA-1, no short keys."""

from __future__ import annotations

from collections.abc import Iterable

import asyncssh
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_public_key_algs

_SMALLEST_RSA = 2048

# None over finite fields: cryptography is about to drop them, and the client may choose groups of
# 1,024 bits.
_KEY_EXCHANGES = (
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
)
_CIPHERS = (
    "chacha20-poly1305@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
_MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)
_SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_KEY_TYPES = frozenset({*_SIGNATURES, "ssh-rsa"} - {"rsa-sha2-512", "rsa-sha2-256"})


def agreed_on() -> dict[str, list[str]]:
    """The lists of this module as options of asyncssh; some need libraries that may be missing."""
    return {
        "kex_algs": _available(_KEY_EXCHANGES, get_kex_algs()),
        "encryption_algs": _available(_CIPHERS, get_encryption_algs()),
        "mac_algs": _available(_MACS, get_mac_algs()),
        "signature_algs": _available(_SIGNATURES, get_public_key_algs()),
        "compression_algs": ["none"],  # no bombs
    }


def _available(wanted: Iterable[str], known: Iterable[bytes]) -> list[str]:
    names = {name.decode() for name in known}
    return [name for name in wanted if name in names]


def accepts_signature(algorithm: bytes) -> bool:
    """Whether a signature may be of this algorithm, for instance not `ssh-rsa`, which is SHA-1."""
    return algorithm.decode("latin-1") in _SIGNATURES


def weakness(key: asyncssh.SSHKey) -> str | None:
    """Why a key is refused even when it is authorized; None when it is strong enough."""
    kind = key.get_algorithm()
    if kind not in _KEY_TYPES:
        return f"{kind} keys are not accepted; use ed25519, ECDSA or RSA"
    size = getattr(key.pyca_key, "key_size", _SMALLEST_RSA) if kind == "ssh-rsa" else _SMALLEST_RSA
    if size < _SMALLEST_RSA:
        return f"an RSA key of {size} bits is too short; it needs {_SMALLEST_RSA} or more"
    return None
