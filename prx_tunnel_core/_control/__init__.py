"""The local socket of a running tunnel: `serve` it beside the tunnel, `ask` it from anywhere else.

A Unix socket per tunnel name, in a directory that only its user can enter. A request is one line,

    {"v": 1, "op": "status" | "health" | "stop", "as": "text" | "json"}

and the reply is a line `prx-tunnel/1 <exit code>`, then what is to be printed, as it is to be
printed, until the end of the stream. So the client of `prx tunnel status` needs no JSON, no
pydantic and no event loop. Lines `prx-tunnel/1 wait` come first, one a second, while the work
lasts: a process that is frozen is told from one that is busy. The word `ending` after the exit
code says that the process itself is about to end.

Everything here that is specific to an operating system needs Unix; importing it does not.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` alone would double the start-up of `prx tunnel status`
if TYPE_CHECKING:
    from prx_tunnel_core._control.async_client import NoAnswer, NotRunning, ask
    from prx_tunnel_core._control.name_lock import AlreadyRunning, Claim
    from prx_tunnel_core._control.server import serve, take

__all__ = ["AlreadyRunning", "Claim", "NoAnswer", "NotRunning", "ask", "serve", "take"]

if not TYPE_CHECKING:
    _HOME = {
        "AlreadyRunning": "name_lock",
        "Claim": "name_lock",
        "NoAnswer": "async_client",
        "NotRunning": "async_client",
        "ask": "async_client",
        "serve": "server",
        "take": "server",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
