"""Run an agent, or the inbox, with a tunnel to it.

The agent reads its current public URL from a file. If the URL is known before the agent starts, it
is in the agent's environment as well.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.agent.process import (
    BY_SIGNAL,
    Agent,
    SignalForwarder,
    explain,
    run_agent,
)
from prx_tunnel_core._cli.command import disable_core_dumps
from prx_tunnel_core._cli.runner import TunnelSpec
from prx_tunnel_core._cli.signals import StopSignals
from prx_tunnel_core._cli.views import View, write
from prx_tunnel_core._control import runtime_dir
from prx_tunnel_core._control.render import local
from prx_tunnel_core._health import local_port
from prx_tunnel_core._hosting import HostTunnel, host_tunnel
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.errors import SetupError, TunnelError, unwrap_group
from prx_tunnel_core.process import private_folder

URL_VARIABLE = "PRX_TUNNEL_PUBLIC_URL"
FILE_VARIABLE = "PRX_TUNNEL_PUBLIC_URL_FILE"

POLL = 0.1  # seconds between two attempts to connect to the agent's port
REFRESH = 600.0  # seconds; systems remove temporary files that are not touched for hours


@dataclass(frozen=True)
class AgentSpec:
    """What one `prx start` runs."""

    tunnel: TunnelSpec
    command: tuple[str, ...]
    """Empty for the inbox."""
    exposes: bool
    """Whether a tunnel is opened."""
    known_url: str | None
    """The public URL if the configuration alone determines it."""
    keep_agent: bool
    """Whether the agent outlives a killed prx."""


def run_with_agent(spec: AgentSpec, view: View) -> int:
    """Return the agent's exit code, as a shell would report it."""
    signals = SignalForwarder()
    signals.install()
    return anyio.run(_run_with_agent, spec, view, signals, backend="asyncio")


async def _run_with_agent(spec: AgentSpec, view: View, signals: SignalForwarder) -> int:
    started = anyio.Event()
    # The file outlives the tunnel, which empties it at its end.
    with _url_file(spec) as file, unwrap_group():
        async with anyio.create_task_group() as tasks, _tunnel(spec, view, started) as tunnel:
            if file is not None:
                tasks.start_soon(file.follow, tunnel)
            await tunnel.settled.wait()  # from here on, `prx tunnel status` finds the tunnel
            url = tunnel.info.public_url if tunnel.info is not None else None
            environment = _environment(spec, url, file.path if file is not None else None)
            code = await _run(spec, environment, signals, started)
    return code


async def _run(
    spec: AgentSpec, environment: Mapping[str, str], signals: SignalForwarder, started: anyio.Event
) -> int:
    if signals.early:
        return BY_SIGNAL + signals.early
    async with AsyncExitStack() as stack:
        try:
            agent = await stack.enter_async_context(
                run_agent(spec.command, environment, outlives_us=spec.keep_agent)
            )
        except (OSError, ValueError) as error:
            code, reason = explain(error, spec.command[0])
            streams.complain(f"prx: {reason}")
            return code
        started.set()
        return await _until_it_ends(agent, signals)


async def _until_it_ends(agent: Agent, signals: SignalForwarder) -> int:
    disable_core_dumps()  # only now, so that the agent does not inherit it
    signals.forward_to(agent)
    try:
        return await agent.wait()
    finally:
        signals.forward_to(None)


def run_inbox(spec: AgentSpec, view: View) -> int:
    """Print the requests that arrive at the local port, until a signal asks to stop."""
    stop = StopSignals()
    stop.install()
    disable_core_dumps()
    return anyio.run(_run_inbox, spec, view, stop, backend="asyncio")


async def _run_inbox(spec: AgentSpec, view: View, stop: StopSignals) -> int:
    from prx_tunnel_core._cli.agent import inbox

    config = spec.tunnel.config.tunnel
    where = local(config)
    host, port = config.local_host, config.local_port
    try:
        async with inbox.listen(None, inbox.show, host=host, port=port):
            write(f"[INFO] No command given, printing requests to http://{where}\n")
            with unwrap_group():
                async with _tunnel(spec, view):
                    await stop.wait()
    except OSError as error:
        raise TunnelError(
            f"cannot listen on {where}: {error.strerror or error}; if your agent is running "
            "there already, open a tunnel to it with: prx tunnel start"
        ) from None
    return 0


@asynccontextmanager
async def _tunnel(
    spec: AgentSpec, view: View, started: anyio.Event | None = None
) -> AsyncIterator[HostTunnel]:
    """The tunnel, opened once the local port accepts connections; never, if nothing is exposed.

    `started` is set when the agent has started: until then, another program may have the port.
    """
    wanted = spec.tunnel
    if not spec.exposes:
        yield HostTunnel.never(wanted.name)
        return

    async def ready() -> None:
        if started is not None:
            await started.wait()
        await _accepts(wanted.config.tunnel)

    async with host_tunnel(
        wanted.config.tunnel,
        name=wanted.name,
        plugins=wanted.plugins,
        tables=wanted.config.tables,
        ready=ready,
        on_status=view.show,
    ) as tunnel:
        yield tunnel


async def _accepts(config: TunnelConfig) -> None:
    """Return once the local port accepts connections."""
    while not await local_port.accepts(config.local_host, config.local_port):
        await anyio.sleep(POLL)


def _environment(spec: AgentSpec, url: str | None, file: str | None) -> dict[str, str]:
    """The environment of prx, with the agent's public URL and the file that holds it."""
    environment = dict(os.environ)
    for name, value in ((URL_VARIABLE, url or spec.known_url), (FILE_VARIABLE, file)):
        environment.pop(name, None)
        if value:
            environment[name] = value
    return environment


class UrlFile:
    """Holds the URL and a newline while the tunnel is connected, and is empty otherwise."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "public-url")
        self._url = ""
        self.write("")

    def write(self, url: str) -> None:
        """Replace the file atomically: a reader sees either the old or the new URL."""
        self._url = url
        beside = f"{self.path}.new"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{url}\n" if url else "")
        os.replace(beside, self.path)

    async def follow(self, tunnel: HostTunnel) -> None:
        statuses = tunnel.watch()
        while True:
            with anyio.move_on_after(REFRESH) as idle:
                if await anext(statuses, None) is None:
                    return
            url = _url_of(tunnel)
            if url != self._url or idle.cancelled_caught:
                self.write(url)


def _url_of(tunnel: HostTunnel) -> str:
    return tunnel.info.public_url if tunnel.info is not None else ""


@contextmanager
def _url_file(spec: AgentSpec) -> Iterator[UrlFile | None]:
    """A file in a directory that only this user can enter; None if no tunnel is opened."""
    if not spec.exposes:
        yield None
        return
    with private_folder(parent=_runtime_directory()) as folder:
        yield UrlFile(folder)


def _runtime_directory() -> str | None:
    """None if it cannot be trusted: the tunnel reports the reason, and the agent still runs."""
    try:
        path = runtime_dir.runtime_path()
        os.close(runtime_dir.open_directory(path, create=True))
    except SetupError:
        return None
    return path
