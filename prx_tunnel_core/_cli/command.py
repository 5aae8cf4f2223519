"""What the commands of `prx` share: where they register, common options, exit codes.

Imports next to nothing, because `prx tunnel status` loads it as well.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from pathlib import Path
    from typing import Any, Protocol

    class Commands(Protocol):
        """Adds subcommands to a parser: the public face of what `add_subparsers` returns."""

        def add_parser(
            self,
            name: str,
            *,
            help: str | None = None,  # noqa: A002 - argparse's name
            description: str | None = None,
            usage: str | None = None,
        ) -> ArgumentParser: ...


FAILED, USAGE = 1, 2
INTERRUPTED = 130  # what shells report for SIGINT


def exit_code(error: BaseException) -> int:
    """The exit code of a command that raised the error."""
    from prx_tunnel_core._control.name_lock import AlreadyRunning
    from prx_tunnel_core.errors import ConfigError

    return USAGE if isinstance(error, (ConfigError, AlreadyRunning)) else FAILED


def add_name_option(parser: ArgumentParser) -> None:
    parser.add_argument("--name", default="default", help="name of the tunnel (default: default)")


def add_config_option(
    parser: ArgumentParser,
    *,
    help: str = "configuration file (default: see `prx config`)",  # noqa: A002
) -> None:
    parser.add_argument("--config", metavar="FILE", help=help)


def add_tunnel_options(parser: ArgumentParser) -> None:
    """The options that select and configure a tunnel; see `tunnel_overrides`."""
    parser.add_argument("--backend", help="backend to use (list them with `prx tunnel backends`)")
    parser.add_argument("--port", type=int, help="local port that the tunnel forwards to")
    add_name_option(parser)
    add_config_option(parser)


def tunnel_overrides(options: Namespace) -> dict[str, Any]:
    """The keys of `[tunnel]` that the command line sets."""
    given = {"backend": options.backend, "local_port": options.port}
    return {key: value for key, value in given.items() if value is not None}


def config_path(options: Namespace) -> Path:
    """Where the configuration file is, or would be. Raises ConfigError."""
    from prx_tunnel_core import _configfile
    from prx_tunnel_core.errors import ConfigError

    path = _configfile.where(options.config)
    if path is None:
        raise ConfigError(
            "no configuration file: this user has no home directory; name a file with --config"
        )
    return path


def same_config(options: Namespace) -> str:
    """The --config option for a suggested command, so that it uses the same file."""
    import shlex

    return f" --config {shlex.quote(options.config)}" if options.config else ""


def disable_core_dumps() -> None:
    """A core file of this process, or of a program that it runs, would hold every secret."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
