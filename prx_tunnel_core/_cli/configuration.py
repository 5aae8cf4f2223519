"""`prx init` and `prx config`: write the configuration file, and show what it says."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from prx_tunnel_core._cli import streams

if TYPE_CHECKING:
    from pathlib import Path

    from prx_tunnel_core._cli.parser import Commands
    from prx_tunnel_core._plugins import PluginRegistry
    from prx_tunnel_core._plugins.choices import Choice

INIT = """\
Write a commented configuration file for a backend and print its path. It asks nothing and never
replaces a file. The file is --config, else $PRX_CONFIG, else config.toml in the user's
configuration directory."""

CONFIG = """\
Print the path of the configuration file and what it says. Secrets are masked; ${NAME} is shown as
it is written. Exits with 2 when the file is not valid."""


def register(commands: Commands) -> None:
    init = commands.add_parser(
        "init", help="write a commented configuration file", description=INIT
    )
    init.add_argument("--backend", help="the backend to use (default: the best one usable here)")
    init.add_argument("--port", type=int, help="the local port that the tunnel leads to")
    init.add_argument("--config", metavar="FILE", help="the file to write")
    init.set_defaults(parser=init, run=_init)

    show = commands.add_parser(
        "config", help="show where the configuration is and what it says", description=CONFIG
    )
    show.add_argument("--config", metavar="FILE", help="the configuration file")
    show.add_argument("--json", action="store_true", help="print one object")
    show.set_defaults(parser=show, run=_config)


def _init(options: Namespace) -> int:
    from prx_tunnel_core._cli.sample import sample, write_new
    from prx_tunnel_core._plugins import PluginRegistry

    choice = _chosen(options.backend, PluginRegistry())
    path = _path(options)
    text = sample(choice.backend, options.port)
    named = _named(options)
    write_new(path, text, show=f"prx config{named}")
    streams.write(f"{path}\n")
    streams.complain(f"Backend: {choice.name} ({choice.backend.summary})")
    if choice.lacks:
        streams.complain(f"[WARN] {choice.lacks}")
    streams.complain(f"Next: look at the file, then run: prx tunnel start{named}")
    return 0


def _chosen(name: str | None, plugins: PluginRegistry) -> Choice:
    from prx_tunnel_core._plugins.choices import best, choices
    from prx_tunnel_core.errors import ConfigError

    if name is None:
        if (choice := best(plugins)) is None:
            raise ConfigError("no backend is installed; begin with: pip install prx-tunnel-ssh")
        return choice
    plugins.backend(name)  # raises when it is not installed, or broken
    return next(choice for choice in choices(plugins) if choice.name == name)


def _path(options: Namespace) -> Path:
    from prx_tunnel_core import _configfile
    from prx_tunnel_core.errors import ConfigError

    path = _configfile.where(options.config)
    if path is None:
        raise ConfigError("this user has no home directory; name the file with --config")
    return path


def _named(options: Namespace) -> str:
    """What other commands need in order to use the same file."""
    import shlex

    return f" --config {shlex.quote(options.config)}" if options.config else ""


def _config(options: Namespace) -> int:
    from prx_tunnel_core import _configfile
    from prx_tunnel_core._cli.masking import masked_document
    from prx_tunnel_core._plugins import PluginRegistry

    path = _path(options)
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
        streams.complain(f"There is no such file. Write it with: prx init{_named(options)}")
    return 0


def _show(path: Path, document: dict[str, Any]) -> None:
    import tomli_w

    from prx_tunnel_core.text import one_line

    lines = [str(path), *([""] if document else []), *tomli_w.dumps(document).splitlines()]
    streams.write("".join(f"{one_line(line)}\n" for line in lines))


def _check(options: Namespace, plugins: PluginRegistry) -> None:
    """Raise ConfigError or PluginError for what is wrong with the file; warn of the rest."""
    from prx_tunnel_core import _configfile
    from prx_tunnel_core._cli import preflight
    from prx_tunnel_core._cli.running import Job

    config = _configfile.load(options.config)
    for warning in config.warnings:
        streams.complain(f"[WARN] {warning}")
    preflight.validated(Job("default", config, plugins))
