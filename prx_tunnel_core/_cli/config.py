"""`prx config`: show the configuration file and its path, with the secrets masked."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.command import add_config_option, config_path, same_config

if TYPE_CHECKING:
    from pathlib import Path

    from prx_tunnel_core._cli.command import Commands
    from prx_tunnel_core._plugins import PluginRegistry

DESCRIPTION = """\
Print the path of the configuration file and its contents. Secrets are masked; ${NAME} is shown
unexpanded. Exits with 2 if the file is not valid."""


def register(commands: Commands) -> None:
    parser = commands.add_parser(
        "config", help="show the configuration file and its path", description=DESCRIPTION
    )
    add_config_option(
        parser,
        help="configuration file (default: $PRX_CONFIG, else in the configuration directory)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    from prx_tunnel_core import _configfile
    from prx_tunnel_core._cli.masking import masked_document
    from prx_tunnel_core._plugins import PluginRegistry

    path = config_path(options)
    exists = os.path.lexists(path)
    plugins = PluginRegistry()
    document = masked_document(_configfile.parse(path), plugins) if exists else {}
    if options.json:
        import json

        report = {"path": str(path), "exists": exists, "config": document}
        streams.write(f"{json.dumps(report, default=str)}\n")
    else:
        _show(path, document)
    if exists:
        _check(options, plugins)
    elif not options.json:
        streams.complain(f"The file does not exist; create it with: prx init{same_config(options)}")
    return 0


def _show(path: Path, document: dict[str, Any]) -> None:
    import tomli_w

    from prx_tunnel_core.text import one_line

    lines = [str(path), *([""] if document else []), *tomli_w.dumps(document).splitlines()]
    streams.write("".join(f"{one_line(line)}\n" for line in lines))


def _check(options: Namespace, plugins: PluginRegistry) -> None:
    """Print warnings. Raises ConfigError or PluginError if the file is not valid."""
    from prx_tunnel_core import _configfile
    from prx_tunnel_core._cli import preflight

    config = _configfile.load(options.config)
    for warning in config.warnings:
        streams.complain(f"[WARN] {warning}")
    preflight.validated(config, plugins)
