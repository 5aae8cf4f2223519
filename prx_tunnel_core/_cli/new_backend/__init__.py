"""`prx tunnel new-backend`: a distribution to begin with, complete and tested."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from prx_tunnel_core._cli import streams

if TYPE_CHECKING:
    from prx_tunnel_core._cli.parser import Commands


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
    from prx_tunnel_core._cli.new_backend.scaffold import Refused, write

    try:
        directory = write(options.backend, options.directory)
    except Refused as refused:
        options.parser.error(str(refused))
    streams.write(
        f"Wrote {directory}, a backend that passes its tests. Install it next to prx and test it:\n"
        f"  {' && '.join(_next_steps(directory))}\n"
        "Then make it yours; see docs/writing-a-backend.md.\n"
    )
    return 0


def _next_steps(directory: Path) -> list[str]:
    """Commands for the environment that runs prx.

    The core is installed there already, whether from an index, a wheel or a clone, so nothing has
    to find it again.
    """
    python = sys.executable
    # An environment that uv made has no pip.
    installer = [python, "-m", "pip", "install"]
    if find_spec("pip") is None:
        installer = ["uv", "pip", "install", "--python", python]
    # "./" keeps a name that begins with a hyphen from being read as an option.
    place = directory if directory.is_absolute() else f"./{directory}"
    steps = [
        ["cd", str(place)],
        [*installer, "--editable", ".", "prx-tunnel-core[testing]"],
        [python, "-m", "pytest"],
    ]
    return [shlex.join(step) for step in steps]
