"""The command `prx`. Each module registers one subcommand, and imports what it needs when it runs.

`main` first lets `ask` try: `prx tunnel status`, `health` and `stop` are answered without argparse.
"""

from __future__ import annotations

import os
import sys

from prx_tunnel_core._cli import query, streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED, USAGE, NOT_RUNNING = 1, 2, 3
INTERRUPTED = 130  # what a shell makes of SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; what goes wrong is one line on stderr."""
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
    """A plugin whose import hangs may have started threads that the interpreter would wait for."""
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
    from prx_tunnel_core._control.name_lock import AlreadyRunning
    from prx_tunnel_core.errors import ConfigError, TunnelError

    if not isinstance(error, (TunnelError, OSError)):
        import traceback

        streams.complain("".join(traceback.format_exception(error)).rstrip())
        return FAILED
    if isinstance(error, OSError):
        streams.give_up()
    streams.complain(f"prx: {error}")
    return USAGE if isinstance(error, (ConfigError, AlreadyRunning)) else FAILED
