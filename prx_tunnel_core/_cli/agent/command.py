"""`prx start [-- COMMAND…]`: run the agent, and a tunnel to it once it listens."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prx_tunnel_core._cli import streams

if TYPE_CHECKING:
    from prx_tunnel_core._cli.parser import Commands
    from prx_tunnel_core._cli.running import Job
    from prx_tunnel_core._configfile import Config

DESCRIPTION = """\
Run your agent, and open the tunnel once it listens on the local port. The tunnel never ends the
agent; the agent's end closes the tunnel, and its exit code is ours. Without COMMAND and
[gateway] command, a small inbox on the local port prints what arrives. Nothing is exposed unless
the configuration has a [tunnel] table, or --backend names a backend. The agent finds its public
URL in the file that $PRX_TUNNEL_PUBLIC_URL_FILE names (empty while there is none), and in
$PRX_TUNNEL_PUBLIC_URL when it is known before the start."""


def register(commands: Commands) -> None:
    parser = commands.add_parser(
        "start",
        help="run your agent, with a tunnel to it",
        description=DESCRIPTION,
        usage=(
            "prx start [-h] [--backend BACKEND] [--port PORT] [--name NAME] [--config FILE] "
            "[--keep-agent] [-- COMMAND ...]"
        ),
    )
    parser.add_argument("--backend", help="what opens the tunnel (see `prx tunnel backends`)")
    parser.add_argument("--port", type=int, help="the local port that your agent listens on")
    parser.add_argument("--name", default="default", help="tells several tunnels apart")
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    parser.add_argument(
        "--keep-agent", action="store_true", help="leave the agent running should prx be killed"
    )
    parser.add_argument("command", metavar="COMMAND", nargs="*", help="the agent and its arguments")
    parser.set_defaults(parser=parser, run=_run)


@dataclass(frozen=True)
class Plan:
    """What one `prx start` is to do."""

    job: Job
    command: tuple[str, ...]
    exposes: bool
    known_url: str | None
    keep_agent: bool


def _run(options: Namespace) -> int:
    from prx_tunnel_core import _configfile
    from prx_tunnel_core._cli.running import Job
    from prx_tunnel_core._cli.start import noting, overrides
    from prx_tunnel_core._cli.views import PlainView
    from prx_tunnel_core._control import runtime_dir
    from prx_tunnel_core._plugins import PluginRegistry

    runtime_dir.check_name(options.name)
    runtime_dir.require_unix()
    config = _configfile.load(options.config, overrides=overrides(options))
    job = Job(options.name, config, PluginRegistry())
    command = _command(options.command, config)
    why_not = _why_not(config, asked=options.backend is not None)
    known_url, secrets = _look_ahead(job, why_not, agent=bool(command))
    plan = Plan(job, command, not why_not, known_url, options.keep_agent)
    view = PlainView(config.tunnel)
    with noting(view, secrets):
        if command:
            from prx_tunnel_core._cli.agent.run import run_with_agent

            return run_with_agent(plan, view)
        from prx_tunnel_core._cli.agent.inbox_loop import run_inbox

        return run_inbox(plan, view)


def _command(given: list[str], config: Config) -> tuple[str, ...]:
    """What to run; nothing when nobody has said. Raises ConfigError."""
    from prx_tunnel_core.errors import ConfigError

    command = given or config.gateway.command
    if command is None:
        return ()
    where = "COMMAND" if given else "gateway.command"
    try:
        words = tuple(shlex.split(command) if isinstance(command, str) else command)
    except ValueError as error:
        raise ConfigError(f"{where}: {str(error).lower()}; check the quotation marks") from None
    if not words or not words[0]:
        raise ConfigError(f"{where} is empty; name a program, or remove the key")
    if any("\x00" in word for word in words):
        raise ConfigError(f"{where}: an argument has a NUL character")
    return words


def _look_ahead(job: Job, why_not: str, *, agent: bool) -> tuple[str | None, list[str]]:
    """Say what is worth saying before anything starts; the URL known by now, and the secrets."""
    from prx_tunnel_core._cli import preflight

    if why_not:
        for warning in job.config.warnings:
            streams.complain(f"[WARN] {warning}")
        streams.write(f"[INFO] No tunnel, nothing is exposed: {why_not}\n")
        return None, []
    warnings, secrets = preflight.look(job, listening=False)
    for warning in warnings:
        streams.complain(f"[WARN] {warning}")
    return preflight.known_url(job) if agent else None, secrets


def _why_not(config: Config, *, asked: bool) -> str:
    """Why there is to be no tunnel; nothing when there is to be one.

    `asked`: whether the command line names a backend.
    """
    if not (config.exposes or asked):
        lacking = (
            "there is no configuration file, and so no [tunnel] table"
            if config.path is None
            else f"{config.path} has no [tunnel] table"
        )
        return f"{lacking}; open one with --backend, or write the file with: prx init"
    if not config.tunnel.auto_start:
        return "tunnel.auto_start is false; open it with: prx tunnel start"
    return ""


def agent_environment(plan: Plan, url: str | None, file: str | None) -> dict[str, str]:
    """Ours, for the agent is the user's own program, and what it may know of its public URL."""
    from prx_tunnel_core._cli.agent.url import FILE_VARIABLE, URL_VARIABLE

    environment = dict(os.environ)
    for name, value in ((URL_VARIABLE, url or plan.known_url), (FILE_VARIABLE, file)):
        environment.pop(name, None)
        if value:
            environment[name] = value
    return environment
