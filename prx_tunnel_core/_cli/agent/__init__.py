"""`prx start [-- COMMAND…]`: run an agent, and open a tunnel to it once it listens."""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import TYPE_CHECKING

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.command import add_tunnel_options, tunnel_overrides

if TYPE_CHECKING:
    from prx_tunnel_core._cli.agent.run import AgentSpec
    from prx_tunnel_core._cli.command import Commands
    from prx_tunnel_core._cli.runner import TunnelSpec
    from prx_tunnel_core._configfile import Config

DESCRIPTION = """\
Run your agent and open a tunnel to it once it listens on the local port. When the agent exits, the
tunnel is closed and prx exits with the agent's exit code; a tunnel that fails does not stop the
agent. Without COMMAND or gateway.command, prx listens on the local port itself and prints each
request. Nothing is exposed unless the configuration has a [tunnel] table or --backend is given.
The agent reads its current public URL from the file named by $PRX_TUNNEL_PUBLIC_URL_FILE, which is
empty while the tunnel is not connected; $PRX_TUNNEL_PUBLIC_URL is set as well if the URL is known
before the agent starts."""


def register(commands: Commands) -> None:
    parser = commands.add_parser(
        "start",
        help="run your agent and a tunnel to it",
        description=DESCRIPTION,
        usage=(
            "prx start [-h] [--backend BACKEND] [--port PORT] [--name NAME] [--config FILE] "
            "[--keep-agent] [-- COMMAND ...]"
        ),
    )
    add_tunnel_options(parser)
    parser.add_argument(
        "--keep-agent", action="store_true", help="keep the agent running if prx is killed"
    )
    parser.add_argument("command", metavar="COMMAND", nargs="*", help="the agent and its arguments")
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    from prx_tunnel_core._cli.agent.run import run_inbox, run_with_agent
    from prx_tunnel_core._cli.views import PlainView, show_warnings

    spec, secrets = _spec(options)
    view = PlainView(spec.tunnel.config.tunnel)
    with show_warnings(view, secrets):
        return run_with_agent(spec, view) if spec.command else run_inbox(spec, view)


def _spec(options: Namespace) -> tuple[AgentSpec, list[str]]:
    """What to run, and the secrets to mask in the output. Prints warnings."""
    from prx_tunnel_core import _configfile
    from prx_tunnel_core._cli.agent.run import AgentSpec
    from prx_tunnel_core._cli.runner import TunnelSpec
    from prx_tunnel_core._control import runtime_dir
    from prx_tunnel_core._plugins import PluginRegistry

    runtime_dir.check_name(options.name)
    runtime_dir.require_unix()
    config = _configfile.load(options.config, overrides=tunnel_overrides(options))
    tunnel = TunnelSpec(options.name, config, PluginRegistry())
    command = _command(options.command, config)
    why_not = _why_not(config, asked=options.backend is not None)
    known_url, secrets = _look_ahead(tunnel, why_not, agent=bool(command))
    return AgentSpec(tunnel, command, not why_not, known_url, options.keep_agent), secrets


def _command(given: list[str], config: Config) -> tuple[str, ...]:
    """The command to run, empty if none was given. Raises ConfigError."""
    from prx_tunnel_core.errors import ConfigError

    command = given or config.gateway.command
    if command is None:
        return ()
    where, mend = ("COMMAND", "leave it out") if given else ("gateway.command", "remove the key")
    try:
        words = tuple(shlex.split(command) if isinstance(command, str) else command)
    except ValueError as error:
        raise ConfigError(f"{where}: {str(error).lower()}; check the quotation marks") from None
    if not words or not words[0]:
        raise ConfigError(f"{where} is empty; name a program, or {mend}")
    if any("\x00" in word for word in words):
        raise ConfigError(f"{where}: an argument contains a NUL character; remove it")
    return words


def _look_ahead(tunnel: TunnelSpec, why_not: str, *, agent: bool) -> tuple[str | None, list[str]]:
    """Print warnings; return the public URL if it is known already, and the secrets."""
    from prx_tunnel_core._cli import preflight

    config, plugins = tunnel.config, tunnel.plugins
    if why_not:
        for warning in config.warnings:
            streams.complain(f"[WARN] {warning}")
        streams.write(f"[INFO] No tunnel, nothing is exposed: {why_not}\n")
        return None, []
    warnings, secrets = preflight.check(config, plugins, listening=False)
    for warning in warnings:
        streams.complain(f"[WARN] {warning}")
    return preflight.known_url(config.tunnel, plugins) if agent else None, secrets


def _why_not(config: Config, *, asked: bool) -> str:
    """The reason for opening no tunnel; empty if one is to be opened.

    `asked`: whether the command line names a backend.
    """
    if not (config.exposes or asked):
        lacking = (
            "there is no configuration file"
            if config.path is None
            else f"{config.path} has no [tunnel] table"
        )
        return f"{lacking}; pass --backend, or create a configuration with: prx init"
    if not config.tunnel.auto_start:
        return "tunnel.auto_start is false; open it with: prx tunnel start"
    return ""
