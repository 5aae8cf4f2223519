"""`prx tunnel logs`: show the log of a detached tunnel, from the oldest line kept."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

from prx_tunnel_core import trust
from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.command import add_name_option

if TYPE_CHECKING:
    from prx_tunnel_core._cli.command import Commands

KEPT = 3  # rotated log files, besides the current one
POLL = 0.2  # seconds
NOT_FOUND = 3


def register(tunnel: Commands) -> None:
    parser = tunnel.add_parser(
        "logs",
        help="show the log of a detached tunnel",
        description="Show the log of a tunnel that was started with --detach.",
    )
    add_name_option(parser)
    parser.add_argument(
        "--follow", "-f", action="store_true", help="wait for new lines until Ctrl-C"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object for each line")
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    from prx_tunnel_core._control.runtime_dir import check_name

    path = path_of(check_name(options.name))
    older = [path.with_name(f"{path.name}.{number}") for number in range(KEPT, 0, -1)]
    files = [file for each in (*older, path) if (file := _open(each)) is not None]
    if not files:
        streams.complain(
            f"prx: tunnel {options.name!r} has no log at {path}; start it with --detach to get one"
        )
        return NOT_FOUND
    for file in files[:-1]:
        with file:
            _show(file, options.json)
    with _Followed(path, files[-1]) as followed:
        _show(followed, options.json)
        while options.follow:
            time.sleep(POLL)
            _show(followed, options.json)
    return 0


def path_of(name: str) -> Path:
    """The current log file of a tunnel. Raises SetupError."""
    import platformdirs

    from prx_tunnel_core.errors import SetupError

    try:
        directory = platformdirs.user_log_path("prx-tunnel", appauthor=False)
    except RuntimeError:
        raise SetupError(
            "no place for the log: this user has no home directory; "
            "set XDG_STATE_HOME to a directory"
        ) from None
    return directory / f"{name}.log"


def _open(path: Path) -> TextIO | None:
    try:
        # Only a line feed ends a line: a carriage return in a record must not start a new one.
        return open(path, encoding="utf-8", errors="replace", newline="\n", opener=_no_symlink)
    except FileNotFoundError:
        return None


def _no_symlink(path: str, flags: int) -> int:
    return trust.open_file(path, flags | os.O_NOFOLLOW)


class _Followed:
    """The lines of a log file that grows and is rotated."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._partial = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[str]:
        yield from self._complete_lines()
        if self._was_replaced():
            newer = _open(self._path)
            if newer is not None:
                yield from self._complete_lines()  # written before the rotation
                self._file.close()
                self._file = newer
                yield from self._complete_lines()

    def _complete_lines(self) -> Iterator[str]:
        for line in self._file:
            self._partial += line
            if line.endswith("\n"):
                whole, self._partial = self._partial, ""
                yield whole

    def _was_replaced(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False


def _show(lines: Iterable[str], as_json: bool) -> None:
    from prx_tunnel_core.text import one_line

    for line in lines:
        text = one_line(line.rstrip("\n"))
        streams.write(f"{_as_json(text) if as_json else text}\n")


def _as_json(line: str) -> str:
    """Time and level are null for the continuation lines of a record."""
    from prx_tunnel_core.text import INDENT

    time_, level, message = None, None, line.removeprefix(INDENT)
    if not line.startswith(INDENT) and line.count(" ") >= 2:
        time_, level, message = line.split(" ", 2)
    return json.dumps({"time": time_, "level": level, "message": message})
