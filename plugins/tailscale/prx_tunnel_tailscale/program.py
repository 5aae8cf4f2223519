"""The `tailscale` program: how it is called and ended, and its short commands."""

from __future__ import annotations

import os
import random
import sys
from dataclasses import dataclass
from signal import Signals

import anyio

from prx_tunnel_core import ProgramNotFound, find_program
from prx_tunnel_core.errors import ProgramExited, TunnelError
from prx_tunnel_core.programs import CommandOutput, Version, program_version, run_command
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.node import Node, parse_node
from prx_tunnel_tailscale.reasons import MINIMUM, UPDATE, explain
from prx_tunnel_tailscale.serveconfig import ServeConfig, parse_serve_config

INSTALL_HINT = "install it from https://tailscale.com/download, or set tunnel.tailscale.program"
VERSION_PREFIX = '"majorMinorPatch": "'
DEADLINE = 10.0  # seconds; the program itself tries for two to reach its daemon
TRIES = 5
"""tailscaled's configuration is versioned: of two simultaneous changes, one is refused."""
_STEP = 0.03  # seconds
# The program handles only SIGINT (cli/serve_v2.go); every other signal ends it as well, and
# tailscaled forgets its route at once, whatever ended it.
STOP_SIGNALS = (Signals.SIGINT, Signals.SIGTERM)
STOP_GRACE = 3.0  # seconds
_MAC_APP = "/Applications/Tailscale.app/Contents/MacOS/Tailscale"


@dataclass(frozen=True, slots=True)
class Tailscale:
    """Calls the program for one tailscaled. Every method raises TunnelError with the reason."""

    program: str
    socket: str | None = None
    patience: float = DEADLINE
    """Seconds for each command."""

    @classmethod
    def of(cls, config: TailscaleConfig, *, patience: float = DEADLINE) -> Tailscale:
        """The configured program; ProgramNotFound says where it was looked for."""
        try:
            found = find_program(config.program, hint=INSTALL_HINT)
        except ProgramNotFound:
            is_default = config.program == "tailscale" and sys.platform == "darwin"
            if not (is_default and os.access(_MAC_APP, os.X_OK)):
                raise
            found = find_program(_MAC_APP)
        return cls(found, config.socket, patience)

    def command(self, *arguments: str) -> list[str]:
        # A global flag: after the subcommand it would not be understood.
        socket = [f"--socket={self.socket}"] if self.socket else []
        return [self.program, *socket, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Without it the program of the macOS app opens its window."""
        return {"TAILSCALE_BE_CLI": "1"} if self.program == _MAC_APP else {}

    async def version(self) -> Version:
        """The program's own version; SetupError when it is too old."""
        return await program_version(
            self.command("version", "--json"),
            name="tailscale",
            prefix=VERSION_PREFIX,
            minimum=MINIMUM,
            fix=UPDATE,
            env=self.environment,
            patience=self.patience,
        )

    async def node(self) -> Node:
        answer = await self.run("status", "--json", "--peers=false")
        return parse_node(document(self._succeeded(answer)))

    async def serve_config(self) -> ServeConfig:
        # `serve status --json` says the same.
        answer = await self.run("funnel", "status", "--json")
        return parse_serve_config(document(self._succeeded(answer)))

    async def run(self, *arguments: str) -> CommandOutput:
        """Run a command that ends by itself; ConnectError when it does not."""
        return await run_command(
            self.command(*arguments), env=self.environment, patience=self.patience
        )

    def _succeeded(self, answer: CommandOutput) -> CommandOutput:
        if answer.returncode != 0:
            raise self.failure(answer)
        return answer

    def failure(self, answer: CommandOutput) -> TunnelError:
        """The error for a command that failed."""
        return explain(
            ProgramExited(
                f"tailscale exited with code {answer.returncode}: {answer.summary}",
                returncode=answer.returncode,
                tail=answer.lines,
            )
        )


def document(answer: CommandOutput) -> str:
    """The JSON in the output, without what the program says beside it.

    Warnings ("client version … != tailscaled server version …") come on the other stream, at
    any moment. JSON lines are indented, or begin with a bracket; a sentence does neither.
    """
    return "\n".join(
        line for line in answer.lines if line[:1] in "{}[] \t" or line.strip() == "null"
    )


def announces(line: str) -> bool:
    """Whether the program says that it is done: a moment to look, no proof of anything."""
    return line.startswith(("Available on the internet", "Available within your tailnet"))


async def pause(number: int) -> None:
    """Let the other writer finish before the next try; random, to avoid another collision."""
    await anyio.sleep(random.uniform(_STEP, 2 * _STEP) * number)  # noqa: S311 - guards nothing
