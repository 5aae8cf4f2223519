"""`prx tunnel new-backend`: write a package with a new backend, its tests included.

The package is written beside its final place and then moved there.
"""

from __future__ import annotations

import os
import shlex
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from prx_tunnel_core._cli import streams

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from prx_tunnel_core._cli.command import Commands
    from prx_tunnel_core.backend import Connection, Target
    from prx_tunnel_core.config import BackendConfig

_FILES = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "gitignore.in": ".gitignore",
    "workflow.yml.in": ".github/workflows/test.yml",
    "init.py.in": "@package@/__init__.py",
    "config.py.in": "@package@/config.py",
    "connect.py.in": "@package@/connect.py",
    "diagnose.py.in": "@package@/diagnose.py",
    "contract.py.in": "tests/test_@module@.py",
}


def register(tunnel: Commands) -> None:
    parser = tunnel.add_parser(
        "new-backend",
        help="create a package for a new backend",
        description="Create a complete package, tests included, to start a new backend from.",
    )
    parser.add_argument(
        "backend", metavar="NAME", help="name of the backend, as used in `tunnel.backend`"
    )
    parser.add_argument(
        "directory",
        metavar="DIRECTORY",
        nargs="?",
        help="directory to create (default: prx-tunnel-NAME)",
    )
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    try:
        directory = write(options.backend, options.directory)
    except Refused as refused:
        options.parser.error(str(refused))
    streams.write(
        f"Created {directory}, a package whose tests pass. Install it next to prx and run them:\n"
        f"  {' && '.join(_next_steps(directory))}\n"
        "Then adapt it to your provider; see docs/writing-a-backend.md.\n"
    )
    return 0


def _next_steps(directory: Path) -> list[str]:
    """Commands for the environment that runs prx, in which the core is installed already."""
    python = sys.executable
    # Environments created by uv have no pip.
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


class Refused(Exception):
    """The name or the directory cannot be used; the text says why."""


def write(name: str, directory: str | None = None) -> Path:
    """Write the distribution `prx-tunnel-<name>`; a failure leaves nothing behind.

    Raises Refused for a name that is not valid or is taken, and for a directory that exists and is
    not empty.
    """
    import tempfile

    from prx_tunnel_core._plugins.loading import PREFIX

    _check_name(name)
    place = Path(directory or f"{PREFIX}{name}")
    if os.path.lexists(place) and not (place.is_dir() and not any(place.iterdir())):
        raise Refused(f"{place} exists; choose another directory, or remove it")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as folder:
        made = Path(folder, "made")
        made.mkdir()
        _fill(made, name)
        made.replace(place)
    return place


def _fill(folder: Path, name: str) -> None:
    from importlib import resources

    words = _words(name)
    templates = resources.files(__package__) / "templates"
    for template, path in _FILES.items():
        target = folder / _replaced(path, words)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (templates / template).read_text(encoding="utf-8")
        target.write_text(_replaced(text, words), encoding="utf-8")
    (folder / words["@package@"] / "py.typed").touch()


def _words(name: str) -> dict[str, str]:
    module = name.replace("-", "_")
    return {
        "@name@": name,
        "@module@": module,
        "@package@": f"prx_tunnel_{module}",
        "@VARIABLE@": f"{module.upper()}_TOKEN",
    }


def _replaced(text: str, words: dict[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text


def _check_name(name: str) -> None:
    from prx_tunnel_core._plugins import find_installed
    from prx_tunnel_core.backend import Backend
    from prx_tunnel_core.config import BackendConfig
    from prx_tunnel_core.errors import PluginError

    try:
        Backend(name=name, summary="", config=BackendConfig, connect=_never)
    except PluginError as error:
        raise Refused(str(error)) from None
    if name.endswith("-") or "--" in name:
        raise Refused(f"{name!r}: the name must not end with a hyphen or contain two in a row")
    for found in find_installed():
        if found.name == name:
            raise Refused(
                f"{name!r} is the name of a backend of {found.label}; choose another name"
            )


def _never(config: BackendConfig, target: Target) -> AbstractAsyncContextManager[Connection]:
    raise NotImplementedError
