"""The grammar of the command line: every subcommand is a module with `register`."""

from __future__ import annotations

import argparse
import functools
from typing import Any, TypeAlias

from prx_tunnel_core import __version__
from prx_tunnel_core.cli import (
    agent,
    ask,
    backends,
    completion,
    demo,
    doctor,
    logs,
    new_backend,
    start,
)

# A prefix of an option that works today would be another option's tomorrow.
_Parser = functools.partial(argparse.ArgumentParser, allow_abbrev=False)

_SUBCOMMANDS: dict[str, Any] = {
    "title": "commands",
    "metavar": "COMMAND",
    "required": True,
    "parser_class": _Parser,
}

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - no other name

_EPILOG = """\
exit codes:
  0  it went well
  1  the tunnel failed (the reason is on stderr)
  2  wrong usage or configuration
  3  not running (status, health, stop)
  4  running but not connected (status), unhealthy (health)

shell completion, for bash (zsh and tcsh alike):
  prx completion bash > ~/.local/share/bash-completion/completions/prx
"""


def build() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="prx",
        description="Keep a tunnel to a local port open.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"prx {__version__}")
    commands = parser.add_subparsers(**_SUBCOMMANDS)
    tunnel = commands.add_parser(
        "tunnel", help="start, watch and stop tunnels", description="Start, watch and stop tunnels."
    )
    below = tunnel.add_subparsers(**_SUBCOMMANDS)
    for module in (start, ask, logs, backends, demo, doctor, new_backend):
        module.register(below)
    agent.register(commands)
    completion.register(commands)
    return parser


def run(arguments: list[str]) -> int:
    try:
        options, unknown = build().parse_known_args(arguments)
        if unknown:
            # Told by the subcommand, with its own usage, and not by the one above all. Without
            # values: somebody may try `--token …`.
            names = [each.partition("=")[0] for each in unknown if each.startswith("-")]
            options.parser.error(f"unrecognized arguments: {' '.join(names or unknown)}")
    except SystemExit as end:  # --help, --version, or an error that argparse has told
        return end.code if isinstance(end.code, int) else 2
    code: int = options.run(options)
    return code
