"""`prx tunnel start`: in the foreground until Ctrl-C, or detached."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prx_tunnel_core._cli import streams

if TYPE_CHECKING:
    from prx_tunnel_core._cli.parser import Commands
    from prx_tunnel_core._cli.running import Job
    from prx_tunnel_core._cli.views import View

DESCRIPTION = """\
Open the tunnel and keep it open: in the foreground until Ctrl-C, or with --detach in the
background until `prx tunnel stop`. The configuration is --config, else $PRX_CONFIG, else
config.toml in the user's configuration directory."""


def register(tunnel: Commands) -> None:
    parser = tunnel.add_parser(
        "start", help="open a tunnel and keep it open", description=DESCRIPTION
    )
    parser.add_argument("--backend", help="what opens the tunnel (see `prx tunnel backends`)")
    parser.add_argument("--port", type=int, help="the local port that it leads to")
    parser.add_argument("--name", default="default", help="tells several tunnels apart")
    parser.add_argument("--config", metavar="FILE", help="the configuration file")
    parser.add_argument(
        "--detach", action="store_true", help="run in the background; return once connected"
    )
    parser.add_argument("--json", action="store_true", help="an object for each change of status")
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    from prx_tunnel_core._cli import preflight
    from prx_tunnel_core._cli.running import run
    from prx_tunnel_core._cli.signals import StopSignals
    from prx_tunnel_core._control import runtime_dir

    runtime_dir.check_name(options.name)
    runtime_dir.require_unix()
    stop = StopSignals()
    stop.install()
    leave_no_core()
    job = _job(options)
    warnings, secrets = preflight.look(job)
    for warning in warnings:
        streams.complain(f"[WARN] {warning}")
    if options.detach:
        from prx_tunnel_core._cli.daemon import detach

        return detach(job, secrets, stop, as_json=options.json)
    with _view(job, options.json) as view, noting(view, secrets):
        run(job, view, stop)
    return 0


def _job(options: Namespace) -> Job:
    from prx_tunnel_core import _configfile
    from prx_tunnel_core._cli.running import Job
    from prx_tunnel_core._plugins import PluginRegistry

    config = _configfile.load(options.config, overrides=overrides(options))
    plugins = PluginRegistry()
    if not config.exposes and options.backend is None:
        from prx_tunnel_core._cli.preflight import require_choice

        port_given = options.port is not None or config.gateway.port is not None
        require_choice(plugins, config, port_given=port_given)
    return Job(options.name, config, plugins)


def overrides(options: Namespace) -> dict[str, Any]:
    """What the command line says of `[tunnel]`."""
    given = {"backend": options.backend, "local_port": options.port}
    return {key: value for key, value in given.items() if value is not None}


def leave_no_core() -> None:
    """A core file of this process, or of the program it runs, would hold every secret."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


@contextlib.contextmanager
def _view(job: Job, as_json: bool) -> Iterator[View]:
    from prx_tunnel_core._cli.views import JsonView, PlainView

    if as_json:
        yield JsonView(job.name)
    elif _on_terminal():
        from prx_tunnel_core._cli.live_view import LiveView

        with LiveView(job.config.tunnel) as view:
            yield view
    else:
        yield PlainView(job.config.tunnel)


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def noting(view: View, secrets: Iterable[str]) -> Iterator[None]:
    handler = _Notes(view, secrets)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _Notes(logging.Handler):
    """Warnings of the log, where the view wants them."""

    def __init__(self, view: View, secrets: Iterable[str]) -> None:
        from prx_tunnel_core.logs import PrintableFormatter
        from prx_tunnel_core.text import Redactor

        super().__init__(logging.WARNING)
        self._view = view
        redact = Redactor(secrets)
        self.setFormatter(PrintableFormatter("[%(levelname)s] %(message)s", redact=redact))

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("[WARNING]", "[WARN]", 1)  # as everywhere here

    def emit(self, record: logging.LogRecord) -> None:
        self._view.note(self.format(record))
