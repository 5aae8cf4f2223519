"""`prx completion SHELL`: print the script that completes `prx` in that shell."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from prx_tunnel_core._cli import streams

if TYPE_CHECKING:
    from prx_tunnel_core._cli.command import Commands

SHELLS = ("bash", "zsh", "tcsh")


def register(commands: Commands) -> None:
    parser = commands.add_parser(
        "completion",
        help="print the completion script of a shell",
        description=(
            "Print the completion script of a shell. Put it where the shell looks for them, e.g.: "
            "prx completion bash > ~/.local/share/bash-completion/completions/prx; "
            "prx completion zsh > ~/.zfunc/_prx (with ~/.zfunc in fpath)."
        ),
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    import shtab

    streams.write(shtab.complete(options.root, shell=options.shell))
    return 0
