"""`prx tunnel start`: in the foreground until Ctrl-C, or detached."""

from __future__ import annotations

import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.command import add_tunnel_options, disable_core_dumps, tunnel_overrides

if TYPE_CHECKING:
    from prx_tunnel_core._cli.command import Commands
    from prx_tunnel_core._cli.runner import TunnelSpec
    from prx_tunnel_core._cli.views import View

DESCRIPTION = """\
Open a tunnel and keep it open: in the foreground until Ctrl-C, or with --detach in the background
until `prx tunnel stop`. The configuration file is --config, else $PRX_CONFIG, else config.toml in
the user's configuration directory."""


def register(tunnel: Commands) -> None:
    parser = tunnel.add_parser(
        "start", help="open a tunnel and keep it open", description=DESCRIPTION
    )
    add_tunnel_options(parser)
    parser.add_argument(
        "--detach", action="store_true", help="run in the background; return once connected"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object for each status change"
    )
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    from prx_tunnel_core._cli import preflight
    from prx_tunnel_core._cli.runner import run
    from prx_tunnel_core._cli.signals import StopSignals
    from prx_tunnel_core._cli.views import show_warnings
    from prx_tunnel_core._control import runtime_dir

    runtime_dir.check_name(options.name)
    runtime_dir.require_unix()
    if options.detach:
        leave_host()
    stop = StopSignals()
    stop.install()
    disable_core_dumps()
    spec = _spec(options)
    warnings, secrets = preflight.check(spec.config, spec.plugins)
    for warning in warnings:
        streams.complain(f"[WARN] {warning}")
    if options.detach:
        from prx_tunnel_core._cli.daemon import detach

        return detach(spec, secrets, stop, as_json=options.json)
    with _view(spec, options.json) as view, show_warnings(view, secrets):
        run(spec, view, stop)
    return 0


def leave_host() -> None:
    """Start this command again without the token of the host that it runs below, if any.

    The host's guard ends every process with that token, and a detached tunnel is to survive it. A
    process shows the environment that it was started with, so only exec() removes the token.

    The token of a host that is gone stays: it keeps our guard from ending what started this
    command, perhaps the user's terminal (see `orphans.orphans`).
    """
    from prx_tunnel_core.errors import SetupError
    from prx_tunnel_core.process._reaper.orphans import dead_host
    from prx_tunnel_core.process._reaper.tokens import TOKEN_VARIABLE

    if TOKEN_VARIABLE not in os.environ or dead_host(os.getpid()):
        return
    environ = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    try:
        os.execve(  # noqa: S606 - the same command again
            sys.executable, [sys.executable, *sys.orig_argv[1:]], environ
        )
    except OSError as error:
        raise SetupError(
            f"the tunnel cannot be detached from the program that started this command: "
            f"{sys.executable!r}: {error.strerror}; run it with {TOKEN_VARIABLE} unset"
        ) from error


def _spec(options: Namespace) -> TunnelSpec:
    from prx_tunnel_core import _configfile
    from prx_tunnel_core._cli.runner import TunnelSpec
    from prx_tunnel_core._plugins import PluginRegistry

    config = _configfile.load(options.config, overrides=tunnel_overrides(options))
    plugins = PluginRegistry()
    if not config.exposes and options.backend is None:
        from prx_tunnel_core._cli.preflight import require_choice

        port_given = options.port is not None or config.gateway.port is not None
        require_choice(plugins, config, port_given=port_given)
    return TunnelSpec(options.name, config, plugins)


@contextlib.contextmanager
def _view(spec: TunnelSpec, as_json: bool) -> Iterator[View]:
    from prx_tunnel_core._cli.views import JsonView, PlainView

    if as_json:
        yield JsonView(spec.name)
    elif _on_terminal():
        from prx_tunnel_core._cli.live_view import LiveView

        with LiveView(spec.config.tunnel) as view:
            yield view
    else:
        yield PlainView(spec.config.tunnel)


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
