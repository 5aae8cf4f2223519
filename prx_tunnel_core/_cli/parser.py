"""The command line: the list of commands, each a module with `register`, and their parser."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any, NoReturn

from prx_tunnel_core import __version__
from prx_tunnel_core._cli import (
    agent,
    backends,
    completion,
    config,
    demo,
    doctor,
    init,
    logs,
    new_backend,
    query,
    start,
    streams,
)
from prx_tunnel_core._cli.command import USAGE

COMMANDS = (agent, init, config, completion)
TUNNEL_COMMANDS = (start, query, logs, backends, demo, doctor, new_backend)

_EPILOG = f"""\
exit codes:
  0  success
  1  the tunnel failed (the reason is on stderr)
  2  invalid usage or configuration
{query.exit_codes()}
shell completion for bash (for others, see `prx completion --help`):
  prx completion bash > ~/.local/share/bash-completion/completions/prx
"""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        # An abbreviated option that works today would be ambiguous with another option tomorrow.
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        from prx_tunnel_core.text import printable_lines

        super().error(printable_lines(message))


_SUBCOMMANDS: dict[str, Any] = {
    "title": "commands",
    "metavar": "COMMAND",
    "required": True,
    "parser_class": _Parser,
}


def build() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    return _grammar()[0]


def _grammar() -> tuple[argparse.ArgumentParser, Collection[str], Collection[str]]:
    """The parser, and the names of the commands of `prx` and of `prx tunnel`."""
    parser = _Parser(
        prog="prx",
        description="Keep a tunnel to a local port open.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"prx {__version__}")
    parser.set_defaults(root=parser)
    commands = parser.add_subparsers(**_SUBCOMMANDS)
    tunnel = commands.add_parser(
        "tunnel", help="start, watch and stop tunnels", description="Start, watch and stop tunnels."
    )
    below = tunnel.add_subparsers(**_SUBCOMMANDS)
    for module in TUNNEL_COMMANDS:
        module.register(below)
    for module in COMMANDS:
        module.register(commands)
    return parser, commands.choices, below.choices


def _is_known(word: str, commands: Collection[str]) -> bool:
    return word in commands or word in ("", "-h", "--help", "--version")


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    parser, top, below = _grammar()
    first, second = (*arguments, "", "")[:2]
    if not _is_known(first, top) or (first == "tunnel" and not _is_known(second, below)):
        from prx_tunnel_core._cli import hints

        if hint := hints.unknown_command(arguments, top, below):
            streams.complain(hint)
            return USAGE
    try:
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            from prx_tunnel_core._cli import hints

            # Reported by the subcommand's parser, so that its usage is shown.
            options.parser.error(hints.unknown_arguments(options.parser, unknown))
    except SystemExit as end:  # --help, --version, or an error that argparse has printed
        return end.code if isinstance(end.code, int) else USAGE
    code: int = options.run(options)
    return code
