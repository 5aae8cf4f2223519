"""The command `prx`. Each module is one command, or what several share (`command`).

The common forms of `prx tunnel status`, `health` and `stop` are answered by `query`, without
argparse; `parser` has the list of commands. A command imports its dependencies when it runs.
"""

from __future__ import annotations

import os
import sys

from prx_tunnel_core._cli import query, streams
from prx_tunnel_core._cli.command import FAILED, INTERRUPTED, exit_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an error becomes one line on stderr."""
    streams.prepare()
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(given)
        streams.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return streams.give_up()
    except Exception as error:  # noqa: BLE001 - `errors` is imported only when there is one
        code = _explain(error)
    _leave_hanging_plugins(code)
    return code


def _leave_hanging_plugins(code: int) -> None:
    """Exit at once if a plugin's import hangs: the interpreter would wait for its threads."""
    loading = sys.modules.get("prx_tunnel_core._plugins.loading")
    if loading is not None and loading.any_hangs():
        os._exit(code)


def _run(arguments: list[str]) -> int:
    code = query.quickly(arguments)
    if code is None:
        from prx_tunnel_core._cli.parser import run

        return run(arguments)
    return code


def _explain(error: Exception) -> int:
    from prx_tunnel_core.errors import TunnelError

    if not isinstance(error, (TunnelError, OSError)):
        import traceback

        streams.complain("".join(traceback.format_exception(error)).rstrip())
        return FAILED
    if isinstance(error, OSError):
        streams.give_up()
    streams.complain(f"prx: {_reason(error)}")
    return exit_code(error)


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
