"""`prx tunnel new-backend`: a distribution to begin with, complete and tested."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from prx_tunnel_core.cli import streams

if TYPE_CHECKING:
    from prx_tunnel_core.cli.parser import Commands


def register(tunnel: Commands) -> None:
    parser = tunnel.add_parser(
        "new-backend",
        help="write a distribution with a backend of your own",
        description="Write a complete distribution, tests included, to make a backend from.",
    )
    parser.add_argument("backend", metavar="NAME", help="what `tunnel.backend` will say")
    parser.add_argument(
        "directory",
        metavar="DIRECTORY",
        nargs="?",
        help="where to write it (default: prx-tunnel-NAME)",
    )
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    from prx_tunnel_core.cli.new_backend.scaffold import Refused, write

    try:
        directory = write(options.backend, options.directory)
    except Refused as refused:
        options.parser.error(str(refused))
    streams.write(
        f"{directory} has a backend that passes its tests. Next:\n"
        f"  cd {directory} && uv run pytest\n"
        "and make it yours: docs/writing-a-backend.md says how.\n"
    )
    return 0
