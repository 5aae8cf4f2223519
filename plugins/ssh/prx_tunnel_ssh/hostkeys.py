"""Trusted host keys, and the errors for unknown and changed ones."""

from __future__ import annotations

from dataclasses import dataclass

import asyncssh

from prx_tunnel_core import trust
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.expansion import expand_home
from prx_tunnel_ssh.config import ANY_HOST_KEY, SshConfig

# In OpenSSH's order of preference. asyncssh would offer only the algorithms of trusted keys, and a
# server with another type of key would fail with "no common algorithm" instead of "key changed".
_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


@dataclass(frozen=True)
class KnownHosts:
    """The known keys of one server; `hosts` is None if its key is not verified."""

    name: str
    path: str
    hosts: asyncssh.SSHKnownHosts | None
    keys: tuple[asyncssh.SSHKey, ...] = ()
    authorities: tuple[asyncssh.SSHKey, ...] = ()

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms to offer, those of trusted keys first; empty for asyncssh's defaults."""
        if self.authorities:
            return ()
        trusted = [name.decode() for key in self.keys for name in key.sig_algorithms]
        trusted = [name for name in trusted if name != "ssh-rsa"]  # SHA-1
        return tuple(dict.fromkeys([*trusted, *_ALGORITHMS]))


def read_known_hosts(config: SshConfig) -> KnownHosts:
    """Read the entries for the server; there are none if the file does not exist.

    Raises SetupError if the file cannot be read or parsed.
    """
    host = config.host or ""
    name = host if config.port == 22 else f"[{host}]:{config.port}"
    if config.known_hosts == ANY_HOST_KEY:
        return KnownHosts(name, "", None)
    path = expand_home(config.known_hosts, "known_hosts")
    try:
        with open(trust.open_file(path), encoding="utf-8") as file:
            hosts = asyncssh.import_known_hosts(file.read())
    except FileNotFoundError:
        hosts = asyncssh.import_known_hosts("")
    except OSError as error:
        raise SetupError(f"known_hosts: cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise SetupError(f"known_hosts: {path}: {error}; correct or remove that line") from None
    port = None if config.port == 22 else config.port
    found = asyncssh.match_known_hosts(hosts, host, "", port)
    return KnownHosts(name, path, hosts, tuple(found[0]), tuple(found[1]))


def untrusted(known: KnownHosts, port: int, host: str, key: asyncssh.SSHKey) -> SetupError:
    """The error for a server with this untrusted key, with the line that makes it trusted."""
    line = f"{known.name} {_public_line(key)}"
    kind = _kind(key)
    check = f"ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub"
    if not known.keys:
        return SetupError(
            f"the host key of {known.name} is not known: {kind} {key.get_fingerprint()}\n"
            f"Compare it with the server's own key ({check}); when they are equal, add "
            f"this line to {known.path}:\n  {line}\n"
            f"or fetch it, and compare before you trust it:\n"
            f"  ssh-keyscan -p {port} -t {kind} {host} >> {known.path}"
        )
    expected = ", ".join(f"{_kind(k)} {k.get_fingerprint()}" for k in known.keys)
    return SetupError(
        f"the host key of {known.name} has changed: expected {expected}, the server shows "
        f"{kind} {key.get_fingerprint()}. Either it was reinstalled, or the connection is "
        f"intercepted.\nAsk its operator ({check}); when the new key is right, replace "
        f"the old one:\n  ssh-keygen -R '{known.name}' -f {known.path}\n"
        f"and add this line to {known.path}:\n  {line}"
    )


def _public_line(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key().decode().split()[:2])


def _kind(key: asyncssh.SSHKey) -> str:
    """The key type as in `ssh-keyscan -t` and in the names of a server's key files."""
    algorithm = key.get_algorithm()
    return next((k for k in ("ed25519", "ecdsa", "rsa") if k in algorithm), algorithm)
