"""From the start of the agent to its end, with the tunnel beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)

import anyio

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.agent.command import Plan, agent_environment
from prx_tunnel_core._cli.agent.process import BY_SIGNAL, Agent, explain, run_agent
from prx_tunnel_core._cli.agent.signals import PassedOn
from prx_tunnel_core._cli.agent.url import UrlFile, url_file
from prx_tunnel_core._cli.start import leave_no_core
from prx_tunnel_core._cli.views import View
from prx_tunnel_core._hosting import HostTunnel, host_tunnel
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.errors import unwrap_group

POLL = 0.1  # seconds between two looks at the agent's port
LONGEST_CONNECT = 1.0  # seconds; on loopback an answer takes microseconds


def run_with_agent(plan: Plan, view: View) -> int:
    """Return the agent's exit code, as a shell would tell it."""
    signals = PassedOn()
    signals.install()
    return anyio.run(_live, plan, view, signals, backend="asyncio")


async def _live(plan: Plan, view: View, signals: PassedOn) -> int:
    started = anyio.Event()
    # The file outlives the tunnel, whose last word is that there is no URL any more.
    with _url_file(plan) as file, unwrap_group():
        async with anyio.create_task_group() as tasks, tunnel_of(plan, view, started) as tunnel:
            if file is not None:
                tasks.start_soon(file.follow, tunnel)
            await tunnel.settled.wait()  # from here on, who asks for its name finds it
            url = tunnel.info.public_url if tunnel.info is not None else None
            environment = agent_environment(plan, url, file.path if file is not None else None)
            code = await _run(plan, environment, signals, started)
    return code


def _url_file(plan: Plan) -> AbstractContextManager[UrlFile | None]:
    return url_file() if plan.exposes else nullcontext()


async def _run(
    plan: Plan, environment: Mapping[str, str], signals: PassedOn, started: anyio.Event
) -> int:
    if signals.early:
        return BY_SIGNAL + signals.early
    async with AsyncExitStack() as stack:
        try:
            agent = await stack.enter_async_context(
                run_agent(plan.command, environment, outlives_us=plan.keep_agent)
            )
        except (OSError, ValueError) as error:
            code, reason = explain(error, plan.command[0])
            streams.complain(f"prx: {reason}")
            return code
        started.set()
        return await _until_it_ends(agent, signals)


async def _until_it_ends(agent: Agent, signals: PassedOn) -> int:
    leave_no_core()  # after the agent has begun, which decides on that for itself
    signals.hand_over(agent)
    try:
        return await agent.wait()
    finally:
        signals.hand_over(None)


@asynccontextmanager
async def tunnel_of(
    plan: Plan, view: View, started: anyio.Event | None = None
) -> AsyncIterator[HostTunnel]:
    """The tunnel, if there is to be one, told of to the view; opened once the port accepts.

    `started` is set when there is somebody who could listen.
    """
    job = plan.job
    if not plan.exposes:
        yield HostTunnel.never(job.name)
        return

    async def ready() -> None:
        if started is not None:
            await started.wait()
        await accepts(job.config.tunnel)

    options = {"plugins": job.plugins, "tables": job.config.tables}
    async with host_tunnel(
        job.config.tunnel, name=job.name, ready=ready, show=view.show, **options
    ) as tunnel:
        yield tunnel


async def accepts(config: TunnelConfig) -> None:
    """Return once something accepts on the local port."""
    while True:
        with anyio.move_on_after(LONGEST_CONNECT):
            try:
                stream = await anyio.connect_tcp(config.local_host, config.local_port)
            except OSError:
                pass
            else:
                await stream.aclose()
                return
        await anyio.sleep(POLL)
