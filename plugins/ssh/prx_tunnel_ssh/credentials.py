"""The client's credentials: the user name, and keys from files or an SSH agent."""

from __future__ import annotations

import getpass
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh

from prx_tunnel_core import trust
from prx_tunnel_core.errors import ConfigError, SetupError
from prx_tunnel_core.expansion import expand_home
from prx_tunnel_core.logs import get_logger
from prx_tunnel_ssh.config import SshConfig

logger = get_logger("prx_tunnel_ssh")

_NAMELESS = "nameless"
_HOMELESS = "/nonexistent"  # Debian's convention for users without a home directory
_DEFAULT_FILES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


@asynccontextmanager
async def open_keys(config: SshConfig) -> AsyncIterator[Sequence[asyncssh.SSHKeyPair]]:
    """The keys to offer, in order; an agent's keys can be used until the context exits.

    Raises SetupError, which names the setting, if a configured file or agent cannot be used.
    """
    async with _agent(config) as from_agent:
        if config.identity_file is not None:
            yield from_agent if only_public(config) else [*read_key(config), *from_agent]
        elif config.password is not None:
            yield from_agent
        else:
            yield [*from_agent, *_default_keys()]


def only_public(config: SshConfig) -> bool:
    """Whether `identity_file` is a public key, whose private key has to be in the agent."""
    return (config.identity_file or "").endswith(".pub")


def agent_socket(config: SshConfig) -> str | None:
    """The path of the agent's socket; None if no agent is used.

    Raises SetupError if the configuration requires an agent and there is none.
    """
    if isinstance(config.agent, str):
        return expand_home(config.agent, "agent")
    socket = os.environ.get("SSH_AUTH_SOCK") or None
    if not _agent_is_wanted(config):
        by_default = config.agent is None and config.identity_file is None and not config.password
        return socket if by_default else None
    if socket is None:
        raise SetupError(
            "agent: SSH_AUTH_SOCK is not set, so there is no agent to ask: start one "
            "(eval $(ssh-agent); ssh-add), or set agent to the path of its socket"
        )
    return socket


def read_key(config: SshConfig) -> Sequence[asyncssh.SSHKeyPair]:
    """Read the private key of `identity_file`; raises SetupError with the fix."""
    path = expand_home(config.identity_file or "", "identity_file")
    try:
        return _load(path)
    except OSError as error:
        raise SetupError(f"identity_file: cannot read {path}: {error.strerror}") from None
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        if "assphrase" in str(error):
            raise SetupError(
                f"identity_file: {path} is encrypted: add it to the agent (ssh-add {path}) and "
                f"set identity_file to {path}.pub"
            ) from None
        raise SetupError(f"identity_file: {path} is not a private key: {error}") from None


def _load(path: str) -> Sequence[asyncssh.SSHKeyPair]:
    # asyncssh gets the path because it looks for a certificate beside the key. This is safe: other
    # users cannot replace the file that was checked.
    os.close(trust.open_file(path, private=True))
    return asyncssh.load_keypairs([path])


def _default_keys() -> list[asyncssh.SSHKeyPair]:
    """The default keys of OpenSSH that can be read without a passphrase."""
    keys: list[asyncssh.SSHKeyPair] = []
    for name in _DEFAULT_FILES:
        try:
            keys += _load(expand_home(name))
        except trust.Untrusted as error:
            logger.warning("a key is not offered: %s", error)
        except (ConfigError, OSError, asyncssh.KeyEncryptionError, asyncssh.KeyImportError):
            continue
    return keys


def _agent_is_wanted(config: SshConfig) -> bool:
    return bool(config.agent) or only_public(config)


@asynccontextmanager
async def _agent(config: SshConfig) -> AsyncIterator[Sequence[asyncssh.SSHKeyPair]]:
    socket = agent_socket(config)
    if socket is None:
        yield ()
        return
    agent = asyncssh.SSHAgentClient(socket)
    try:
        yield await _agent_keys(agent, socket, config)
    finally:
        agent.close()
        await agent.wait_closed()


async def _agent_keys(
    agent: asyncssh.SSHAgentClient, socket: str, config: SshConfig
) -> Sequence[asyncssh.SSHKeyPair]:
    try:
        keys: Sequence[asyncssh.SSHKeyPair] = await agent.get_keys()
    except (OSError, ValueError) as error:
        if not _agent_is_wanted(config):
            return ()  # SSH_AUTH_SOCK is stale, and the agent is not configured
        raise SetupError(
            f"agent: none answers at {socket} ({error}); start it, or set agent = false"
        ) from None
    return _named(keys, config) if only_public(config) else keys


def _named(keys: Sequence[asyncssh.SSHKeyPair], config: SshConfig) -> Sequence[asyncssh.SSHKeyPair]:
    path = expand_home(config.identity_file or "", "identity_file")
    try:
        with open(trust.open_file(path), "rb") as file:
            wanted = asyncssh.import_public_key(file.read()).public_data
    except OSError as error:
        raise SetupError(f"identity_file: cannot read {path}: {error.strerror}") from None
    except asyncssh.KeyImportError as error:
        raise SetupError(f"identity_file: {path} is not a public key: {error}") from None
    named = [key for key in keys if key.public_data == wanted]
    if not named:
        raise SetupError(
            f"identity_file: the agent does not hold the private half of {path}; "
            f"add it: ssh-add {path.removesuffix('.pub')}"
        )
    return named


def user_name() -> str:
    """The name of the local user, for the login.

    Raises SetupError if the user has none, as in a container that runs under a numeric user id.
    """
    found = _local_name()
    if found in ("", _NAMELESS):
        raise SetupError(
            f"username is not set, and user {os.geteuid()} of this machine has no name: set "
            "username in [tunnel.ssh]"
        )
    return found


def complete_environment() -> None:
    """Set the environment variables that asyncssh needs to start.

    It looks up the user name and the home directory even if it uses neither.
    """
    if not _local_name():
        os.environ["LOGNAME"] = _NAMELESS
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = _HOMELESS


def _local_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError since Python 3.13
        return ""
