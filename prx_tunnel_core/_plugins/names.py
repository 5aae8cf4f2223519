"""The names that a configuration may use, and suggestions for misspelt ones.

A name that nothing reads is an error: otherwise the defaults would apply, and they open a tunnel.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from prx_tunnel_core._plugins.loading import PLUGINS, PREFIX, find_installed
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.text import one_line

BACKENDS = ("cloudflare", "tailscale", "ngrok", "ssh", "custom")
"""The backends of this project, in order of how little they require."""
OBSERVERS = ("webhooks",)

_OURS = frozenset({"gateway", "tunnel", "agent"})
"""Top-level tables that need no plugin. `[agent]` is reserved for the host application."""
_TUNNEL_TABLES = frozenset({"reconnect"})


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that `name` probably means; None without a similar one.

    >>> closest("cloudflared", ["cloudflare", "custom"])
    'cloudflare'
    """
    matches = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def installed_names() -> set[str]:
    """The names of the installed plugins, from metadata alone: nothing is imported."""
    return {found.name for found in find_installed() if found.group == PLUGINS}


def how_to_install(name: str) -> str:
    """The command that installs a plugin of this project; "" for any other name."""
    return f"pip install {PREFIX}{name}" if name in (*BACKENDS, *OBSERVERS) else ""


def missing_backend(name: str, installed: Iterable[str]) -> str:
    """Why there is no such backend, and what to do.

    Only distributions of this project are recommended: anyone can publish one under a mistyped
    name.
    """
    here = sorted(set(installed).difference(OBSERVERS))
    listed = f"installed: {', '.join(here) or 'none'}"
    shown = one_line(name)
    if command := how_to_install(name):
        return f"backend {shown!r} is not installed; run: {command} ({listed})"
    known = dict.fromkeys((*here, *BACKENDS))
    meant = closest(name, known) or _abbreviated(name, known)
    if meant is None:
        return (
            f"there is no backend {shown!r} ({listed}); its distribution would be called "
            f"{PREFIX}{shown}: install it only if you know its publisher"
        )
    if meant in here:
        return f"there is no backend {shown!r}; did you mean {meant!r}? ({listed})"
    return f"there is no backend {shown!r}; did you mean {meant!r}? run: {how_to_install(meant)}"


def _abbreviated(name: str, known: Iterable[str]) -> str | None:
    """The only name that begins with the same letter and contains the others in order (`cf`)."""
    pattern = re.compile(".*".join(map(re.escape, name)))
    matches = [each for each in known if len(name) > 1 and pattern.match(each)]
    return matches[0] if len(matches) == 1 else None


def check_tables(document: Mapping[str, Any], own_tables: Iterable[str]) -> None:
    """Raise ConfigError for a top-level name that neither prx nor a plugin nor the host reads."""
    known = _OURS.union(own_tables)
    for name, value in document.items():
        if name not in known:
            _check_top_level(name, value, known)


def check_backend_name(selected: object) -> None:
    """Raise ConfigError for a backend in another spelling, such as `Cloudflare`.

    The model refuses all other names that no backend can have.
    """
    if isinstance(selected, str) and selected != selected.strip().lower():
        meant = closest(selected.strip(), dict.fromkeys((*BACKENDS, *installed_names())))
        if meant is not None:
            raise ConfigError(
                f"tunnel.backend: there is no backend {one_line(selected)!r}; "
                f"did you mean {meant!r}?"
            )


def check_backend_tables(tunnel: Mapping[str, Any], selected: object) -> None:
    """Raise ConfigError for a table in `[tunnel]` that belongs to no backend.

    Whether the selected backend is installed is checked when it is loaded.
    """
    for name, value in tunnel.items():
        if isinstance(value, dict) and name not in (*_TUNNEL_TABLES, *BACKENDS, selected):
            _check_backend_table(name, str(selected))


def _check_top_level(name: str, value: object, known: Iterable[str]) -> None:
    from prx_tunnel_core.config import TunnelConfig

    shown = one_line(name)
    if not isinstance(value, dict):
        if name in TunnelConfig.model_fields:
            raise ConfigError(f"{shown} stands outside of any table; write it below [tunnel]")
        if isinstance(value, list) and closest(name, (*known, *OBSERVERS)):
            raise ConfigError(f"{shown} is not a table; write [{closest(name, known) or shown}]")
        meant = closest(name, TunnelConfig.model_fields)
        fix = f"did you mean {meant}, below [tunnel]?" if meant else "put it below its table"
        raise ConfigError(f"unknown key {shown!r} outside of any table; {fix}")
    installed = installed_names()
    if name in _TUNNEL_TABLES:
        raise ConfigError(f"unknown table [{shown}]; it is written [tunnel.{shown}]")
    if name in BACKENDS:
        raise ConfigError(f"unknown table [{shown}]; a backend's is written [tunnel.{shown}]")
    if name in installed:
        return  # loading the plugin refuses it when it provides a backend
    if command := how_to_install(name):
        raise ConfigError(
            f"the table [{shown}] needs the distribution {PREFIX}{shown}; run: {command}, or "
            "remove the table"
        )
    meant = closest(name, (*known, *installed, *OBSERVERS))
    if meant is not None:
        table = f"tunnel.{meant}" if meant in BACKENDS else meant
        raise ConfigError(f"unknown table [{shown}]; did you mean [{table}]?")
    raise ConfigError(
        f"unknown table [{shown}]: no installed plugin reads it. Settings of your agent belong in "
        "[agent]; if it reads the table itself, it has to pass the name: "
        f'load(own_tables=["{shown}"])'
    )


def _check_backend_table(name: str, selected: str) -> None:
    from prx_tunnel_core.config import TunnelConfig

    installed = installed_names()
    if name in OBSERVERS:
        raise ConfigError(f"unknown table [tunnel.{name}]; it is written [{name}]")
    if name in installed or closest(name, TunnelConfig.model_fields, cutoff=0.8):
        return  # similar to a key of [tunnel], whose validation reports it
    shown = one_line(name)
    meant = closest(name, dict.fromkeys((selected, *BACKENDS, *installed)))
    fix = f"did you mean [tunnel.{meant}]?" if meant else "correct the name, or remove the table"
    raise ConfigError(f"unknown table [tunnel.{shown}]: no backend {shown!r} is installed; {fix}")
