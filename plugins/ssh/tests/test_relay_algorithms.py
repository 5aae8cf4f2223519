"""Only modern algorithms, whatever the client offers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncssh
import pytest
from ssh_programs import StandaloneRelay, make_key

pytestmark = pytest.mark.anyio


async def log_in(relay: StandaloneRelay, **options: Any) -> asyncssh.SSHClientConnection:
    options = {"client_keys": [str(relay.client_key)], **options}
    connection = await asyncssh.connect(
        "127.0.0.1", relay.port, username="x", known_hosts=None, config=None, agent_path=None,
        **options,
    )  # fmt: skip
    connection.abort()
    await connection.wait_closed()
    return connection


@pytest.mark.parametrize(
    "offered",
    [
        {"kex_algs": ["diffie-hellman-group14-sha1"]},
        {"kex_algs": ["diffie-hellman-group1-sha1"]},
        {"kex_algs": ["diffie-hellman-group-exchange-sha1"]},
        {"kex_algs": ["diffie-hellman-group-exchange-sha256"]},
        {"kex_algs": ["rsa1024-sha1"]},
        {"mac_algs": ["hmac-sha1"], "encryption_algs": ["aes128-ctr"]},
        {"mac_algs": ["hmac-sha1-etm@openssh.com"], "encryption_algs": ["aes128-ctr"]},
        {"mac_algs": ["hmac-md5"], "encryption_algs": ["aes128-ctr"]},
        {"encryption_algs": ["aes128-cbc"]},
        {"encryption_algs": ["3des-cbc"]},
    ],
    ids=str,
)
async def test_s13_old_algorithms_are_not_agreed_on(
    relay: StandaloneRelay, offered: dict[str, list[str]]
) -> None:
    async with relay.here():
        with pytest.raises(asyncssh.KeyExchangeFailed):
            await log_in(relay, **offered)


@pytest.mark.parametrize(
    "offered",
    [
        {"kex_algs": ["curve25519-sha256"]},
        {"kex_algs": ["ecdh-sha2-nistp384"]},
        {"mac_algs": ["hmac-sha2-256"], "encryption_algs": ["aes256-ctr"]},
        {"encryption_algs": ["aes128-gcm@openssh.com"]},
    ],
    ids=str,
)
async def test_s13_modern_ones_are(relay: StandaloneRelay, offered: dict[str, list[str]]) -> None:
    async with relay.here():
        await log_in(relay, **offered)


class Sha1(asyncssh.SSHClient):
    """Signs with an RSA key and SHA-1, whatever the server says that it accepts."""

    def __init__(self, pair: asyncssh.SSHKeyPair) -> None:
        self._pair: asyncssh.SSHKeyPair | None = pair

    def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        pair, self._pair = self._pair, None
        return pair


@pytest.mark.parametrize("algorithm", [b"ssh-rsa", b"ssh-rsa-sha224@ssh.com"])
async def test_s13_a_signature_of_sha_1_proves_nothing(
    relay: StandaloneRelay, tmp_path: Path, algorithm: bytes
) -> None:
    path = make_key(tmp_path / "rsa", "rsa")
    relay.authorize(path)
    (pair,) = asyncssh.load_keypairs([str(path)])
    pair.set_sig_algorithm(algorithm)
    pair.sig_algorithms = (algorithm,)
    async with relay.here() as program:
        await log_in(relay, client_keys=[str(path)])
        with pytest.raises(asyncssh.PermissionDenied):
            await log_in(
                relay, client_keys=None, client_factory=lambda: Sha1(pair),
                signature_algs=["rsa-sha2-256", algorithm.decode()],
            )  # fmt: skip
    assert sum("authenticated" in line for line in program.lines) == 1


async def test_s13_short_keys_are_refused_even_where_they_are_authorized(
    relay: StandaloneRelay, tmp_path: Path
) -> None:
    key = asyncssh.generate_private_key("ssh-rsa", key_size=1024)
    path = tmp_path / "short"
    path.write_bytes(key.export_private_key())
    path.with_suffix(".pub").write_bytes(key.export_public_key())
    relay.authorize(relay.client_key, path)
    async with relay.here() as program:
        with pytest.raises(asyncssh.PermissionDenied):
            await log_in(relay, client_keys=[str(path)])
        await program.line("an RSA key of 1024 bits is too short")
        await log_in(relay)


async def test_s13_an_rsa_host_key_does_not_sign_with_sha_1(relay: StandaloneRelay) -> None:
    make_key(relay.directory / "relay_host_key", "rsa")
    async with relay.here():
        await log_in(relay, server_host_key_algs=["rsa-sha2-256"])
        with pytest.raises(asyncssh.KeyExchangeFailed):
            await log_in(relay, server_host_key_algs=["ssh-rsa"])
