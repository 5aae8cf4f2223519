"""Ask a running tunnel from another program."""

from __future__ import annotations

import json
from typing import Any, Literal, TypeAlias

import anyio.to_thread

from prx_tunnel_core._control import client, runtime_dir
from prx_tunnel_core.errors import TunnelError

Op: TypeAlias = Literal["status", "health", "stop"]


class NotRunning(TunnelError):
    """No process runs a tunnel of that name."""


class NoAnswer(TunnelError):
    """A process runs the tunnel, and does not answer: it is suspended, or of another version."""


async def ask(op: Op, *, name: str = "default") -> dict[str, Any]:
    """What `prx tunnel <op> --json` prints, as an object.

    `stop` returns when the tunnel is stopped. Raises NotRunning, NoAnswer, ConfigError for a name
    that no tunnel can have, and SetupError when the runtime directory cannot be trusted.
    """
    runtime_dir.check_name(name)
    reply = await anyio.to_thread.run_sync(client.call, op, name, "json", abandon_on_cancel=True)
    if reply.answered:
        answer: dict[str, Any] = json.loads(reply.text)
        return answer
    raise (NotRunning if reply.code == client.NOT_RUNNING else NoAnswer)(reply.text)
