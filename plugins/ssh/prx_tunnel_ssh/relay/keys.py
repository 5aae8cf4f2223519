"""Who may come in, and who the relay is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import asyncssh

from prx_tunnel_core import _trust
from prx_tunnel_core.errors import SetupError
from prx_tunnel_ssh.relay.log import Log

Admits = Callable[[asyncssh.SSHKey, str], bool]
"""Whether a key may come in from an address."""

# Options of authorized_keys that mean what they say here, or restrict what the relay never grants.
# A key with any other is not admitted: it was restricted in a way that would be ignored.
_UNDERSTOOD = frozenset({
    "from", "restrict", "port-forwarding", "no-port-forwarding", "agent-forwarding",
    "no-agent-forwarding", "x11-forwarding", "no-x11-forwarding", "pty", "no-pty", "user-rc",
    "no-user-rc", "command", "environment", "permitopen", "no-touch-required",
})  # fmt: skip


class AuthorizedKeys:
    """A file in OpenSSH's format, read anew whenever it has changed."""

    def __init__(self, path: Path, log: Log) -> None:
        self._path = path
        self._log = log
        self._keys, self._stamp = self._read()

    def __call__(self, key: asyncssh.SSHKey, address: str) -> bool:
        self._refresh()
        options = self._keys.validate(key, address, address)
        if options is None:
            return False
        return self._usable({name.lower() for name in options}, key)

    def _usable(self, options: set[str], key: asyncssh.SSHKey) -> bool:
        unknown = sorted(options - _UNDERSTOOD)
        restricted = "restrict" in options or "no-port-forwarding" in options
        if unknown:
            reason = f"this relay does not know the option {unknown[0]}"
        elif restricted and "port-forwarding" not in options:
            reason = "its options forbid port forwarding"
        else:
            return True
        self._log("key refused", fingerprint=key.get_fingerprint(), reason=reason)
        return False

    def _refresh(self) -> None:
        try:
            if _stamp(self._path) != self._stamp:
                self._keys, self._stamp = self._read()
                self._log("authorized keys read", file=self._path)
        except (SetupError, OSError) as error:
            # Fail closed: what cannot be read admits nobody, until it can be read again.
            self._keys, self._stamp = asyncssh.SSHAuthorizedKeys(), ()
            self._log("authorized keys unreadable", reason=error)

    def _read(self) -> tuple[asyncssh.SSHAuthorizedKeys, tuple[int, ...]]:
        try:
            stamp = _stamp(self._path)
            with open(_trust.open_file(str(self._path)), encoding="utf-8") as file:
                return asyncssh.import_authorized_keys(file.read()), stamp
        except OSError as error:
            raise SetupError(f"authorized keys: {self._path}: {error.strerror}") from None
        except ValueError as error:
            raise SetupError(f"authorized keys: {self._path}: {error}") from None


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read_host_key(path: Path, log: Log) -> asyncssh.SSHKey:
    """The relay's own key; made, readable by its owner only, when there is none yet."""
    try:
        with open(_trust.open_file(str(path), private=True), "rb") as file:
            return asyncssh.import_private_key(file.read())
    except FileNotFoundError:
        return _make_host_key(path, log)
    except OSError as error:
        raise SetupError(f"host key: {path}: {error.strerror}") from None
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise SetupError(f"host key: {path}: {error}") from None


def _make_host_key(path: Path, log: Log) -> asyncssh.SSHKey:
    key = asyncssh.generate_private_key("ssh-ed25519", comment="prx-tunnel relay")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SetupError(f"host key: cannot write {path}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(key.export_private_key())
    log("host key made", file=path, fingerprint=key.get_fingerprint())
    return key
