"""Send an operation to a running tunnel from asynchronous code."""

from __future__ import annotations

import json
from typing import Any

import anyio.to_thread

from prx_tunnel_core._control import client, runtime_dir
from prx_tunnel_core.errors import TunnelError


class NotRunning(TunnelError):
    """No process runs a tunnel of that name."""


class NoAnswer(TunnelError):
    """The tunnel's process does not answer: it is suspended, or runs another version of prx."""


async def ask(op: str, *, name: str = "default") -> dict[str, Any]:
    """The object that `prx tunnel <op> --json` prints; `op` is a key of `OPERATIONS`.

    Raises NotRunning, NoAnswer, ConfigError for an invalid name, and SetupError when the runtime
    directory cannot be trusted.
    """
    runtime_dir.check_name(name)
    reply = await anyio.to_thread.run_sync(client.call, op, name, "json", abandon_on_cancel=True)
    if reply.answered:
        answer: dict[str, Any] = json.loads(reply.text)
        return answer
    raise (NotRunning if reply.code == client.NOT_RUNNING else NoAnswer)(reply.text)
