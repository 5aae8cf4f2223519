"""The selected backend: whether it is installed and set up, and whether its servers can be reached.

A plugin is foreign code: whatever it does instead of answering becomes a finding, and whatever it
says is freed of secrets.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from typing import Any, get_args

import anyio

from prx_tunnel_core._configfile import Config, readable_by_others
from prx_tunnel_core._health.network import explain, online, resolve
from prx_tunnel_core._isolation import ForeignError, contain
from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import BackendConfig, literal_secrets, secrets_of, validate
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.models import Check, Verdict
from prx_tunnel_core.process import find_program
from prx_tunnel_core.text import Redactor

PATIENCE = 10.0  # seconds for whatever waits for somebody else

_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


async def look_at_backend(config: Config, plugins: PluginRegistry) -> AsyncIterator[Check]:
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
    for looking in (_program, _network):
        for check in await looking(backend, settings):
            yield replace(check, name=redact(check.name), detail=redact(check.detail))


def _secrets(config: Config, literal: list[str]) -> Iterator[Check]:
    if not literal or config.path is None:
        return
    keys = ", ".join(literal)
    if readable_by_others(config.path):
        fix = f"run: chmod go-r {config.path}"
        yield Check("secrets", "fail", f"others can read {keys} in the file; {fix}")
    else:
        fix = "better from the environment: ${NAME}"
        yield Check("secrets", "unknown", f"{keys} in the file itself; {fix}")


async def _program(backend: Backend[Any], settings: BackendConfig) -> list[Check]:
    """What the backend itself knows; else whether its program is there."""
    diagnose = backend.diagnose
    if diagnose is None:
        return [] if backend.program is None else [_found(backend.program, backend.install_hint)]

    async def ask() -> list[Check]:
        # Made here and not by the caller: a generator runs, and raises, only now.
        return [_require_check(each) for each in await diagnose(settings)]

    try:
        return await contain(ask, deadline=PATIENCE)
    except ForeignError as error:
        return [Check("diagnosis", "unknown", f"backend {backend.name!r} could not look: {error}")]


def _require_check(item: object) -> Check:
    if not isinstance(item, Check):
        raise TypeError(f"its diagnosis has {type(item).__name__} in it, and not only Check")
    if item.verdict not in get_args(Verdict):
        raise TypeError(f"its diagnosis has the verdict {item.verdict!r}")
    return Check(str(item.name), item.verdict, str(item.detail))


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
        return [Check("network", "unknown", f"backend {backend.name!r} names no server: {error}")]
    if not online() and not on_loopback:
        return [Check("network", "fail", "this machine has no route to other networks")]
    return await _reach_all(named)


async def _reach_all(servers: list[str]) -> list[Check]:
    """All at the same time: a firewall lets each wait for its whole time-out."""
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
        return Check("outbound", "unknown", f"{server!r} is no host:port")
    try:
        with anyio.fail_after(PATIENCE):
            await resolve(host, int(port))
            stream = await anyio.connect_tcp(host, int(port))
        await stream.aclose()
    except (OSError, OverflowError, UnicodeError, TimeoutError) as error:
        return _unreached(server, port, error)
    return Check(f"outbound {port}", "ok", server)


def _unreached(server: str, port: str, error: Exception) -> Check:
    # Not every TimeoutError: the kernel's own, of a connection, is one that has a number.
    ours = isinstance(error, TimeoutError) and not error.errno
    reason = f"no answer within {PATIENCE:g} s" if ours else explain(error)[1]
    fix = f"allow outgoing connections to port {port}"
    if isinstance(error, socket.gaierror):
        fix = "is the name right, and does this machine's DNS work?"
    if proxy := next((name for name in _PROXIES if os.environ.get(name)), None):
        # The program may well get out that way, and only the program knows.
        return Check(
            f"outbound {port}", "unknown", f"{server}: {reason}, without the proxy of {proxy}"
        )
    return Check(f"outbound {port}", "fail", f"{server}: {reason}; {fix}")
