"""The selected backend: whether it is installed and configured, and can reach its servers.

A plugin is third-party code: an exception or a hang becomes a check of its own, and secrets are
removed from what it returns.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import Any

import anyio

from prx_tunnel_core import trust
from prx_tunnel_core._configfile import Config
from prx_tunnel_core._health import require_check
from prx_tunnel_core._health.network import explain, online, resolve
from prx_tunnel_core._isolation import ForeignError, contain
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import BackendConfig, validate
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.models import Check
from prx_tunnel_core.process import find_program
from prx_tunnel_core.secrets import literal_secrets, secrets_of
from prx_tunnel_core.text import Redactor

PATIENCE = 10.0  # seconds for each call of the plugin, and for each connection

_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


async def check_backend(config: Config, plugins: PluginRegistry) -> AsyncIterator[Check]:
    try:
        backend = plugins.backend(config.tunnel.backend)
        path = f"tunnel.{backend.name}"
        table = config.tunnel.table(backend.name)
        settings = validate(backend.config, table, path=path)
    except SetupError as error:
        yield Check("backend", "fail", str(error))
        return
    redact = Redactor(secrets_of(settings))
    yield Check("backend", "ok", f"{backend.name}: {backend.summary}")
    for check in _secrets(config, literal_secrets(settings, table, path=path)):
        yield check
    for look in (_program, _network):
        for check in await look(backend, settings):
            yield replace(check, name=redact(check.name), detail=redact(check.detail))


def _secrets(config: Config, literal: list[str]) -> Iterator[Check]:
    if not literal or config.path is None:
        return
    keys = ", ".join(literal)
    if trust.readable_by_others(str(config.path)):
        fix = f"run: chmod go-r {config.path}"
        yield Check("secrets", "fail", f"others can read {keys} in the file; {fix}")
    else:
        fix = "read it from the environment instead: ${NAME}"
        yield Check("secrets", "unknown", f"{keys} in the configuration file; {fix}")


async def _program(backend: Backend[Any], settings: BackendConfig) -> list[Check]:
    """The backend's own diagnosis; without one, whether its program is installed."""
    diagnose = backend.diagnose
    if diagnose is None:
        return [] if backend.program is None else [_found(backend.program, backend.install_hint)]

    async def ask() -> list[Check]:
        # Within `contain`, for `diagnose` may return a generator that raises while it is read.
        return [require_check(each) for each in await diagnose(settings)]

    try:
        return await contain(ask, deadline=PATIENCE)
    except ForeignError as error:
        return [Check("diagnosis", "unknown", f"backend {backend.name!r} failed: {error}")]


def _found(program: str, hint: str) -> Check:
    try:
        return Check("program", "ok", find_program(program, hint=hint))
    except SetupError as error:
        return Check("program", "fail", str(error))


async def _network(backend: Backend[Any], settings: BackendConfig) -> list[Check]:
    servers = backend.servers

    async def ask() -> tuple[bool, list[str]]:
        named: Iterable[str] = () if servers is None else servers(settings)
        return settings.server_on_loopback(), [str(server) for server in named]

    try:
        on_loopback, named = await contain(ask, deadline=PATIENCE)
    except ForeignError as error:
        reason = f"backend {backend.name!r} failed to name its servers: {error}"
        return [Check("network", "unknown", reason)]
    if not online() and not on_loopback:
        return [Check("network", "fail", "this machine has no route to other networks")]
    return await _reach_all(named)


async def _reach_all(servers: list[str]) -> list[Check]:
    """Connect to all at once: behind a firewall, each waits for its whole time-out."""
    found: dict[str, Check] = {}

    async def reach(server: str) -> None:
        found[server] = await _reach(server)

    async with anyio.create_task_group() as tasks:
        for server in servers:
            tasks.start_soon(reach, server)
    return [found[server] for server in dict.fromkeys(servers)]


async def _reach(server: str) -> Check:
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    if not (host and port.isascii() and port.isdigit()):
        return Check("outbound", "unknown", f"{server!r} is not host:port")
    try:
        with anyio.fail_after(PATIENCE):
            await resolve(host, int(port))
            stream = await anyio.connect_tcp(host, int(port))
        await stream.aclose()
    except (OSError, OverflowError, UnicodeError, TimeoutError) as error:
        return _unreached(server, port, error)
    return Check(f"outbound {port}", "ok", server)


def _unreached(server: str, port: str, error: Exception) -> Check:
    # The kernel's own time-out of a connection is a TimeoutError, too, but with an errno.
    ours = isinstance(error, TimeoutError) and not error.errno
    reason = f"no answer within {PATIENCE:g} s" if ours else explain(error)[1]
    fix = f"allow outgoing connections to port {port}"
    if isinstance(error, socket.gaierror):
        fix = "is the name right, and does this machine's DNS work?"
    if proxy := next((name for name in _PROXIES if os.environ.get(name)), None):
        # The program may reach the server through the proxy, which is not used here.
        return Check(
            f"outbound {port}", "unknown", f"{server}: {reason}, without the proxy in {proxy}"
        )
    return Check(f"outbound {port}", "fail", f"{server}: {reason}; {fix}")
