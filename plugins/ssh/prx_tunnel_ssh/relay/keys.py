"""The keys that may log in, and the host key of the relay."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import asyncssh

from prx_tunnel_core import trust
from prx_tunnel_core.errors import SetupError
from prx_tunnel_ssh.relay.algorithms import weakness
from prx_tunnel_ssh.relay.authorized import Entry, parse
from prx_tunnel_ssh.relay.log import Log

Admits = Callable[[asyncssh.SSHKey, str], bool]
"""Whether a key may log in from an address."""

_LARGEST_FILE = 4 * 1024 * 1024


class AuthorizedKeys:
    """A file in the format of OpenSSH, which is read again whenever it has changed."""

    def __init__(self, path: Path, log: Log) -> None:
        self._path = path
        self._log = log
        self._entries, self._stamp = self._read()

    def __call__(self, key: asyncssh.SSHKey, address: str) -> bool:
        self._refresh()
        entries = self._entries.get(key.public_data, ())
        entry = next((each for each in entries if each.allows(address)), None)
        if entry is None:
            return False
        if not entry.forwarding:
            reason = "its options forbid port forwarding"
            self._log.limited("key refused", fingerprint=key.get_fingerprint(), reason=reason)
        return entry.forwarding

    def _refresh(self) -> None:
        try:
            if _stamp(os.stat(self._path)) != self._stamp:
                self._entries, self._stamp = self._read()
                self._log("authorized keys read", file=self._path)
        except (SetupError, OSError) as error:
            # Fail closed: as long as the file cannot be read, no key is accepted.
            self._entries, self._stamp = {}, ()
            self._log.limited("authorized keys unreadable", reason=error)

    def _read(self) -> tuple[dict[bytes, list[Entry]], tuple[int, ...]]:
        """Read the file; a line that cannot be used is skipped and logged."""
        try:
            with open(trust.open_file(str(self._path)), "rb") as file:
                stamp = _stamp(os.fstat(file.fileno()))
                data = file.read(_LARGEST_FILE + 1)
        except OSError as error:
            raise SetupError(f"authorized keys: {self._path}: {error.strerror}") from None
        if len(data) > _LARGEST_FILE:
            raise SetupError(
                f"authorized keys: {self._path} is larger than {_LARGEST_FILE} bytes; "
                "is it the right file?"
            )
        entries: dict[bytes, list[Entry]] = {}
        for line in parse(data):
            if isinstance(line, Entry):
                entries.setdefault(line.key.public_data, []).append(line)
            else:
                self._log(
                    "authorized keys line skipped",
                    file=self._path, line=line.number, reason=line.reason,
                )  # fmt: skip
        if not entries:
            self._log("authorized keys without a usable key", file=self._path)
        return entries, stamp


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read_host_key(path: Path, log: Log) -> asyncssh.SSHKey:
    """Read the host key, or make one that only its owner can read."""
    try:
        with open(trust.open_file(str(path), private=True), "rb") as file:
            key = asyncssh.import_private_key(file.read())
    except FileNotFoundError:
        return _make_host_key(path, log)
    except OSError as error:
        raise SetupError(f"host key: {path}: {error.strerror}") from None
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise SetupError(f"host key: {path}: {error}") from None
    if (why := weakness(key)) is not None:
        raise SetupError(f"host key: {path}: {why}; move the file away to have a new key made")
    return key


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
