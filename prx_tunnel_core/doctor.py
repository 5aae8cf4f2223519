"""What is wrong on this machine, and the fix: everything that can be told without a tunnel.

Each finding is a `Check`: `fail` keeps a tunnel from working, `unknown` deserves a look.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import anyio

from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import BackendConfig, TunnelConfig, literal_secrets, validate
from prx_tunnel_core.configfile import Config, load, readable_by_others
from prx_tunnel_core.control import NoAnswer, NotRunning, ask
from prx_tunnel_core.errors import ConfigError, SetupError, TunnelError
from prx_tunnel_core.health.network import explain, online, resolve
from prx_tunnel_core.isolation import ForeignError, contain
from prx_tunnel_core.health.listeners import Listener, listeners
from prx_tunnel_core.models import Check
from prx_tunnel_core.plugins import Plugins
from prx_tunnel_core.process import find_program

PATIENCE = 10.0  # seconds for whatever waits for somebody else
MANY_DROPS = 6  # reconnects in an hour that are no coincidence

_NOTHING: Mapping[str, Any] = MappingProxyType({})


async def examine(
    config_path: str | os.PathLike[str] | None = None,
    *,
    name: str = "default",
    overrides: Mapping[str, Any] = _NOTHING,
    plugins: Plugins | None = None,
) -> AsyncIterator[Check]:
    """Look at everything, in the order in which it would be needed; raises nothing."""
    plugins = plugins if plugins is not None else Plugins()
    yield _clock()
    for check in _broken_plugins(plugins):
        yield check
    try:
        config = load(config_path, overrides=overrides)
    except ConfigError as error:
        yield Check("configuration", "fail", str(error))
        return
    yield _configuration(config)
    async for check in _backend(config, plugins):
        yield check
    yield await _local_port(config)
    async for check in _running(name, config.tunnel):
        yield check


def _clock() -> Check:
    """TLS believes the clock: certificates of today are not valid in the past."""
    installed = os.stat(__file__).st_mtime
    if time.time() < installed - 86_400:
        now = time.strftime("%Y-%m-%d %H:%M", time.localtime())
        return Check("clock", "fail", f"it is {now} here, before prx was installed; set the clock")
    return Check("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S %z"))


def _broken_plugins(plugins: Plugins) -> Iterator[Check]:
    for plugin in plugins.listing():
        if plugin.problem:
            whose = f"{plugin.distribution} {plugin.version}".strip()
            yield Check(f"plugin {plugin.name}", "fail", f"{whose}: {plugin.problem}")


def _configuration(config: Config) -> Check:
    if config.path is None:
        return Check("configuration", "ok", "no file; the defaults")
    if config.warnings:
        return Check("configuration", "fail", "; ".join(config.warnings))
    return Check("configuration", "ok", str(config.path))


async def _backend(config: Config, plugins: Plugins) -> AsyncIterator[Check]:
    try:
        backend = plugins.backend(config.tunnel.backend)
        path = f"tunnel.{backend.name}"
        table = config.tunnel.table(backend.name)
        settings = validate(backend.config, table, path=path)
    except SetupError as error:
        yield Check("backend", "fail", str(error))
        return
    yield Check("backend", "ok", f"{backend.name}: {backend.summary}")
    literal = literal_secrets(backend.config, table, path=path)
    if literal and config.path is not None:
        yield _secrets(config, literal)
    async for check in _program(backend, settings):
        yield check
    async for check in _outbound(backend, settings):
        yield check


def _secrets(config: Config, literal: list[str]) -> Check:
    assert config.path is not None
    keys = ", ".join(literal)
    if readable_by_others(config.path):
        fix = f"run: chmod go-r {config.path}"
        return Check("secrets", "fail", f"others can read {keys} in the file; {fix}")
    return Check("secrets", "unknown", f"{keys} in the file itself; better from the environment")


async def _program(backend: Backend[Any], settings: BackendConfig) -> AsyncIterator[Check]:
    """What the backend itself knows; else whether its program is there."""
    if backend.diagnose is not None:
        diagnose = backend.diagnose
        try:
            for check in list(await contain(lambda: diagnose(settings), deadline=PATIENCE)):
                yield check
        except (ForeignError, TypeError) as error:
            yield Check("diagnosis", "unknown", f"backend {backend.name!r} could not look: {error}")
    elif backend.program is not None:
        try:
            yield Check("program", "ok", find_program(backend.program))
        except SetupError as error:
            hint = f"; {backend.install_hint}" if backend.install_hint else ""
            yield Check("program", "fail", f"{error}{hint}")


async def _outbound(backend: Backend[Any], settings: BackendConfig) -> AsyncIterator[Check]:
    if not online() and not settings.server_on_loopback():
        yield Check("network", "fail", "this machine has no route to other networks")
    if backend.servers is None:
        return
    for server in backend.servers(settings):
        yield await _reachable(server)


async def _reachable(server: str) -> Check:
    host, _, port = server.rpartition(":")
    name = f"outbound {port}"
    try:
        with anyio.fail_after(PATIENCE):
            await resolve(host.strip("[]"), int(port))
            stream = await anyio.connect_tcp(host.strip("[]"), int(port))
        await stream.aclose()
    except (OSError, TimeoutError) as error:
        timed_out = isinstance(error, TimeoutError)
        reason = f"no answer within {PATIENCE:g} s" if timed_out else explain(error)[1]
        return Check(name, "fail", f"{server}: {reason}; allow outgoing connections to port {port}")
    return Check(name, "ok", server)


async def _local_port(config: Config) -> Check:
    tunnel = config.tunnel
    where = f"{tunnel.local_host}:{tunnel.local_port}"
    try:
        with anyio.fail_after(1):
            stream = await anyio.connect_tcp(tunnel.local_host, tunnel.local_port)
        await stream.aclose()
    except (OSError, TimeoutError):
        fix = "start your program, or set tunnel.local_port to the port that it listens on"
        return Check("local port", "fail", f"nothing listens on {where}; {fix}")
    found = [each for each in listeners() if each.port == tunnel.local_port]
    return Check("local port", *_whose(where, found))


def _whose(where: str, found: list[Listener]) -> tuple[Any, str]:
    strangers = sorted({each.uid for each in found if each.uid not in (0, os.geteuid())})
    if strangers:
        return "unknown", f"{where} belongs to another user (uid {strangers[0]}): is it your app?"
    return "ok", f"something listens on {where}"


async def _running(name: str, config: TunnelConfig) -> AsyncIterator[Check]:
    try:
        status = await ask("status", name=name)
    except NotRunning:
        yield Check("tunnel", "ok", f"{name!r} is not running")
        return
    except NoAnswer as error:
        yield Check("tunnel", "fail", str(error))
        return
    except TunnelError as error:
        yield Check("control socket", "fail", str(error))
        return
    message = f": {status['message']}" if status["message"] else ""
    yield Check("tunnel", "ok", f"{name!r} is {status['state']} (process {status['pid']}){message}")
    drops = int(status.get("drops_last_hour", 0))
    if drops >= MANY_DROPS:
        longest = config.reconnect.backoff_max_ms
        yield Check(
            "reconnects",
            "fail",
            f"{drops} in the last hour: the network is unstable; raise "
            f"tunnel.reconnect.backoff_max_ms (now {longest})",
        )
