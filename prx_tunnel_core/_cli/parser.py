"""The grammar of the command line: every subcommand is a module with `register`."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any, NoReturn, TypeAlias

from prx_tunnel_core import __version__
from prx_tunnel_core._cli import (
    backends,
    completion,
    configuration,
    demo,
    doctor,
    logs,
    new_backend,
    query,
    start,
    streams,
)
from prx_tunnel_core._cli.agent import command


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        # A prefix of an option that works today would be another option's tomorrow.
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

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - no other name

_EPILOG = f"""\
exit codes:
  0  success
  1  the tunnel failed (the reason is on stderr)
  2  wrong usage or configuration
{query.exit_codes()}
shell completion for bash; zsh and tcsh work in the same way:
  prx completion bash > ~/.local/share/bash-completion/completions/prx
"""


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
    commands = parser.add_subparsers(**_SUBCOMMANDS)
    tunnel = commands.add_parser(
        "tunnel", help="start, watch and stop tunnels", description="Start, watch and stop tunnels."
    )
    below = tunnel.add_subparsers(**_SUBCOMMANDS)
    for module in (start, query, logs, backends, demo, doctor, new_backend):
        module.register(below)
    command.register(commands)
    configuration.register(commands)
    completion.register(commands)
    return parser, commands.choices, below.choices


def _is_known(word: str, commands: Collection[str]) -> bool:
    return word in commands or word in ("", "-h", "--help", "--version")


def run(arguments: list[str]) -> int:
    """Run one command and give its exit code."""
    parser, top, below = _grammar()
    first, second = (*arguments, "", "")[:2]
    if not _is_known(first, top) or (first == "tunnel" and not _is_known(second, below)):
        from prx_tunnel_core._cli import hints

        if hint := hints.unknown_command(arguments, top, below):
            streams.complain(hint)
            return 2
    try:
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            from prx_tunnel_core._cli import hints

            # By the subcommand, with its own usage, and not by the one above all.
            options.parser.error(hints.unknown_arguments(options.parser, unknown))
    except SystemExit as end:  # --help, --version, or an error that argparse has told
        return end.code if isinstance(end.code, int) else 2
    code: int = options.run(options)
    return code
