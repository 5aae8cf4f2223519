"""Fill the templates, beside the place where the result will stand, and then move it there."""

from __future__ import annotations

import os
import tempfile
from contextlib import AbstractAsyncContextManager
from importlib import resources
from pathlib import Path

from prx_tunnel_core._plugins import find_installed
from prx_tunnel_core._plugins.discovery import PREFIX
from prx_tunnel_core.backend import Backend, Connection, Target
from prx_tunnel_core.config import BackendConfig
from prx_tunnel_core.errors import PluginError

_FILES = {
    "pyproject.toml.in": "pyproject.toml",
    "README.md.in": "README.md",
    "gitignore.in": ".gitignore",
    "workflow.yml.in": ".github/workflows/test.yml",
    "backend.py.in": "@package@/__init__.py",
    "contract.py.in": "tests/test_@module@.py",
}


class Refused(Exception):
    """The name or the place cannot be had; the text says why."""


def write(name: str, directory: str | None = None) -> Path:
    """Write the distribution `prx-tunnel-<name>`; nothing is left when that fails half-way.

    Raises Refused for a name that no backend may have or another has, and for a directory that
    exists and is not empty.
    """
    _check_name(name)
    place = Path(directory or f"{PREFIX}{name}")
    if os.path.lexists(place) and not (place.is_dir() and not any(place.iterdir())):
        raise Refused(f"{place} exists; name another directory, or remove it")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as folder:
        made = Path(folder, "made")
        made.mkdir()
        _fill(made, name)
        made.replace(place)
    return place


def _fill(folder: Path, name: str) -> None:
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
    try:
        Backend(name=name, summary="", config=BackendConfig, connect=_never)
    except PluginError as error:
        raise Refused(str(error)) from None
    if name.endswith("-") or "--" in name:
        raise Refused(f"{name!r}: a distribution's name has no hyphen at its end, nor two in a row")
    for found in find_installed():
        if found.name == name:
            raise Refused(f"{name!r} is the name of a backend of {found.label}; choose another")


def _never(config: BackendConfig, target: Target) -> AbstractAsyncContextManager[Connection]:
    raise NotImplementedError
