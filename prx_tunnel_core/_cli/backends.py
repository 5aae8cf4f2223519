"""`prx tunnel backends`: list the installed backends and observers, and their problems."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from prx_tunnel_core._cli import streams

if TYPE_CHECKING:
    from prx_tunnel_core._cli.command import Commands
    from prx_tunnel_core._plugins import ListedPlugin


def register(tunnel: Commands) -> None:
    parser = tunnel.add_parser(
        "backends",
        help="list the installed backends and observers",
        description="List the installed backends and observers, and any problems with them.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array")
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    from prx_tunnel_core._plugins import PluginRegistry
    from prx_tunnel_core.text import one_line

    listing = PluginRegistry().listing()
    if options.json:
        import json
        from dataclasses import asdict

        streams.write(f"{json.dumps([asdict(plugin) for plugin in listing], indent=2)}\n")
        return 0
    lines = [line for plugin in listing for line in _describe(plugin)]
    streams.write("".join(f"{one_line(line)}\n" for line in lines))
    if not listing:
        streams.complain(
            "prx: no backend is installed; install one, for example: pip install prx-tunnel-ssh"
        )
    return 0


def _describe(plugin: ListedPlugin) -> list[str]:
    lines = [f"{plugin.name}: {plugin.summary}".rstrip(": ")]
    if plugin.kind != "backend":
        lines[0] += f" ({plugin.kind})"
    lines.append(f"  from {plugin.distribution} {plugin.version}".rstrip())
    if plugin.program is not None:
        hint = f"; {plugin.install_hint}" if plugin.install_hint else ""
        lines.append(f"  runs {plugin.program_path or f'{plugin.program} (not found{hint})'}")
    if plugin.problem:
        lines.append(f"  cannot be used: {' '.join(plugin.problem.split())}")
    return lines
