"""From `start()` to the first webhook delivered, through the embedded relay."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from benchmarks.harness.bench import Bench
from benchmarks.harness.environments import OURS
from benchmarks.harness.model import Figure, Mark, Role
from benchmarks.harness.sampling import interleaved, row
from benchmarks.harness.webhooks import Agent, deliver

OURS_WARM, RAW_WARM = "prx-tunnel", "asyncssh alone"


def measure(bench: Bench) -> Figure:
    figure = Figure("first-webhook", "From start to the first delivered webhook, embedded relay")
    found = bench.work(__name__, "warm", bench.rounds(8, 60))
    for name, values in found.items():
        role: Role = "ours" if name == OURS_WARM else "floor"
        figure.rows.append(row(name, role, "ms", values, scale=1e3))
    cold = interleaved(
        {
            "prx-tunnel, whole process": lambda: _cold(bench, "ours"),
            "asyncssh alone, whole process": lambda: _cold(bench, "raw"),
        },
        bench.rounds(2, 15),
    )
    for name, values in cold.items():
        role = "ours" if name.startswith("prx") else "floor"
        figure.rows.append(row(name, role, "ms", values, scale=1e3))
    ours, raw, ours_cold, raw_cold = (each.median for each in figure.rows)
    figure.marks.append(
        Mark("times asyncssh's own connect, forward, request", ours / raw, "<=", 1.5)
    )
    figure.notes.append(
        f"with the start of the interpreter and all imports: {ours_cold / raw_cold:.2f} times; "
        "pydantic, pluggy and the search for plugins come to asyncssh's own imports"
    )
    return figure


def _cold(bench: Bench, who: str) -> float:
    ran = bench.run(OURS, "-m", __name__, who, env=bench.importable())
    return (int(ran.output) - ran.started) / 1e9


async def _warm(rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {OURS_WARM: [], RAW_WARM: []}
    for number in range(rounds + 1):
        for name, once in ((OURS_WARM, ours), (RAW_WARM, raw)):
            begun = time.monotonic_ns()
            delivered = await once()
            if number:  # the first one imports
                found[name].append((delivered - begun) / 1e9)
    return found


async def ours() -> int:
    import logging

    from prx_tunnel_core import Tunnel

    logging.getLogger("prx_tunnel_ssh").setLevel(logging.ERROR)
    async with Agent() as agent:
        table = {"backend": "ssh", "local_port": agent.port, "health_check_url": False}
        async with Tunnel(table) as tunnel:
            info = await tunnel.start()
            await deliver(int(info.public_url.rpartition(":")[2].rstrip("/")))
            return time.monotonic_ns()


async def raw() -> int:
    """A server, a client that it knows, a forwarded port: what the embedded relay is made of."""
    import asyncssh

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return True

        def server_requested(self, listen_host: str, listen_port: int) -> bool:
            return True

    host, client = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    async with Agent() as agent:
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[host], server_factory=Server
        )
        known = asyncssh.import_known_hosts(f"* {host.export_public_key().decode()}")
        async with asyncssh.connect(
            "127.0.0.1", server.get_port(), username="a", client_keys=[client],
            known_hosts=known, config=None, agent_path=None,
        ) as connection:  # fmt: skip
            listener = await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", agent.port)
            await deliver(listener.get_port())
            delivered = time.monotonic_ns()
        server.close()
        await server.wait_closed()
    return delivered


if __name__ == "__main__":
    if sys.argv[1] == "warm":
        print(json.dumps(asyncio.run(_warm(int(sys.argv[2])))))
    else:
        print(asyncio.run(ours() if sys.argv[1] == "ours" else raw()))
