"""`prx completion SHELL`: print a shell completion script."""

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
        help="print a shell completion script",
        description=(
            "Print a shell completion script. Save it where the shell loads completions from: "
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
