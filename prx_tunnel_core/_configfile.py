"""The configuration file: finds it, checks that it can be trusted, reads and validates it."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from prx_tunnel_core import trust
from prx_tunnel_core._plugins.names import (
    check_backend_name,
    check_backend_tables,
    check_tables,
    closest,
)
from prx_tunnel_core.config import GatewayConfig, TunnelConfig, validate
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import expand
from prx_tunnel_core.text import one_line

LARGEST_FILE = 1024 * 1024  # bytes
MOST_PARTS = 32  # of a key, because tomllib takes time that is quadratic in their number

# A string without an end reaches to the end of its line or of the file, so that the search stays
# linear. Only single characters are repeated possessively: Python 3.11.2 does not backtrack when
# the last repetition of a possessive group fails half-way.
_PART = r"""
    (?: [\w-]++ | " [^"\\\n]*+ (?: \\[^\n] [^"\\\n]*+ )* (?: "|\\|$ ) | ' [^'\n]*+ (?: '|$ ) )
"""
_KEY = re.compile(
    r"""
      \#[^\n]*+                                                         # no keys: a comment
    | "{3} [^"\\]*+ (?: (?: \\. | "(?!"") ) [^"\\]*+ )* (?: "{3,5}+ | \\ | \Z )    # long strings
    | '{3} [^']*+ (?: '(?!'') [^']*+ )* (?: '{3,5}+ | \Z )
    | (?P<key> PART (?: [ \t]*+ \. [ \t]*+ PART )* )
    """.replace("PART", _PART),
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Config:
    """A whole configuration file."""

    tunnel: TunnelConfig
    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    tables: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """The other top-level tables, not expanded: each belongs to the observer of its name."""
    path: Path | None = None
    """The file; None when there was none, and the defaults apply."""
    exposes: bool = False
    """Whether the file has a `[tunnel]` table: without one, nothing is exposed."""
    warnings: tuple[str, ...] = ()
    """Problems that do not make the file invalid, for people."""


def where(
    explicit: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] = os.environ
) -> Path | None:
    """`explicit`, else `$PRX_CONFIG`, else `prx/config.toml` in the user's configuration directory.

    None for a user without a home directory. The working directory is never searched, because a
    configuration names programs to run. Raises ConfigError for an empty `explicit`, which is often
    an unset shell variable: falling back to another file could open another tunnel.
    """
    if explicit is not None and not os.fspath(explicit):
        raise ConfigError("the name of the configuration file is empty; is a variable not set?")
    chosen = explicit or environ.get("PRX_CONFIG")
    if chosen:
        return Path(chosen)
    import platformdirs

    try:
        return platformdirs.user_config_path("prx", appauthor=False) / "config.toml"
    except RuntimeError:
        return None


def find(
    explicit: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] = os.environ
) -> Path | None:
    """The configuration file to read (see `where`); None when it does not exist."""
    path = where(explicit, environ=environ)
    chosen = explicit or environ.get("PRX_CONFIG")
    # A dangling link counts, so that reading it reports what is wrong.
    return path if path is None or chosen or os.path.lexists(path) else None


def load(
    explicit: str | os.PathLike[str] | None = None,
    *,
    overrides: Mapping[str, Any] = MappingProxyType({}),
    own_tables: Iterable[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Read, expand and validate the configuration; the defaults when there is no file.

    `overrides` replace keys of `[tunnel]`, like `--backend` and `--port` of the command line.
    `own_tables` are the names of the top-level tables that the host application keeps in the same
    file; they are in `Config.tables`, neither expanded nor validated. `[agent]` is always allowed.
    Any other table without an installed plugin is an error, so that a misspelt `[tunel]` does not
    silently select the defaults.

        config = load(own_tables=["mybot"])
        greeting = config.tables["mybot"]["greeting"]

    Raises ConfigError with the path of the file, the key, the reason and the fix.
    """
    path = find(explicit, environ=environ)
    document = {} if path is None else parse(path)
    try:
        check_tables(document, own_tables)
        return _interpret(document, dict(overrides), environ, path)
    except ConfigError as error:
        if path is None:
            raise
        raise ConfigError(f"{path}: {error}") from None
    except RecursionError:  # nested almost too deeply for the parser
        raise ConfigError(f"{path}: nested too deeply") from None


def _interpret(
    document: dict[str, Any],
    overrides: dict[str, Any],
    environ: Mapping[str, str],
    path: Path | None,
) -> Config:
    gateway = validate(
        GatewayConfig,
        _table(expand(_own_keys(document, "gateway"), environ, path="gateway"), "gateway"),
        path="gateway",
    )
    written = {**_table(document.get("tunnel", {}), "tunnel"), **overrides}
    warnings: list[str] = []
    if gateway.port is not None:
        written.setdefault("local_port", gateway.port)
    selected = expand(written.get("backend", "cloudflare"), environ, path="tunnel.backend")
    check_backend_name(selected)
    check_backend_tables(written, selected)
    expanded = {
        key: value
        if isinstance(value, dict) and key not in ("reconnect", selected)
        else expand(value, environ, path=f"tunnel.{key}")
        for key, value in written.items()
    }
    tunnel = validate(TunnelConfig, expanded, path="tunnel")
    if gateway.port not in (None, tunnel.local_port):
        warnings.append(
            f"tunnel.local_port is {tunnel.local_port} but gateway.port is {gateway.port}: "
            "the tunnel will not reach the gateway; make them equal or remove tunnel.local_port"
        )
    warnings += _misspelt_gateway_keys(document)
    others = {key: value for key, value in document.items() if key not in ("tunnel", "gateway")}
    return Config(
        tunnel=tunnel,
        gateway=gateway,
        tables=MappingProxyType(others),
        path=path,
        exposes="tunnel" in document,
        warnings=tuple(warnings),
    )


def _misspelt_gateway_keys(document: Mapping[str, Any]) -> Iterator[str]:
    """The agent may use the table too, so an unknown key is only a warning."""
    for key in document.get("gateway", {}):
        meant = closest(key, GatewayConfig.model_fields, cutoff=0.75)
        if meant is not None and key != meant and meant not in document["gateway"]:
            yield f"gateway.{one_line(key)} is not a key of prx; did you mean gateway.{meant}?"


def _own_keys(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Our keys of a table that the host application uses too."""
    table = _table(document.get(name, {}), name)
    return {key: value for key, value in table.items() if key in GatewayConfig.model_fields}


def _table(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name} is not a table; write [{name}]")
    return value


def parse(path: Path) -> dict[str, Any]:
    """The document as it is written, neither expanded nor validated. Raises ConfigError."""
    data = _read(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 (byte {error.start}); save the file as UTF-8 without a BOM"
        ) from None
    if text.startswith("\ufeff"):
        raise ConfigError(f"{path}: starts with a byte order mark; save it as UTF-8 without BOM")
    _check_keys(path, text)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fix = "; it contains NUL characters, like UTF-16: save it as UTF-8" if "\0" in text else ""
        raise ConfigError(f"{path}: {error}{fix}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None
    except ValueError as error:  # a number with thousands of digits
        raise ConfigError(f"{path}: {error}") from None


def _parts(key: str) -> int:
    return len(re.findall(_PART, key, re.VERBOSE | re.MULTILINE))


def _check_keys(path: Path, text: str) -> None:
    for match in _KEY.finditer(text):
        key = match["key"]
        if key and key.count(".") >= MOST_PARTS and _parts(key) > MOST_PARTS:
            line = text.count("\n", 0, match.start()) + 1
            raise ConfigError(
                f"{path}: nested too deeply: "
                f"the key in line {line} has more than {MOST_PARTS} parts; use fewer dots"
            )


def _read(path: Path) -> bytes:
    try:
        with open(trust.open_file(str(path)), "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except trust.Untrusted as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; {_fix(path, error)}") from None
    except ValueError:
        raise ConfigError(f"{str(path)!r} cannot be a path") from None  # it holds a NUL
    if len(data) > LARGEST_FILE:
        raise ConfigError(f"{path}: larger than {LARGEST_FILE // 1024} KiB")
    return data


def _fix(path: Path, error: OSError) -> str:
    """What to do about a file that cannot be read."""
    quoted = shlex.quote(str(path))
    if isinstance(error, FileNotFoundError):
        return f"correct the path, or write the file with: prx init --config {quoted}"
    if isinstance(error, IsADirectoryError):
        return f"name the file in it, such as {path / 'config.toml'}"
    if isinstance(error, PermissionError):
        try:
            owner = path.stat().st_uid
        except OSError:
            return "this user cannot enter a folder in that path; move the file, or name another"
        if owner == os.geteuid():
            return f"let its owner read it: chmod u+r {quoted}"
        return f"let this user read it: sudo chown $(id -u) {quoted}"
    return "check the path"
