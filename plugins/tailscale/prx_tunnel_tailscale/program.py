"""The `tailscale` program: how it is called and ended, and its short commands."""

from __future__ import annotations

import os
import random
import sys
from dataclasses import dataclass, field
from signal import Signals

import anyio

from prx_tunnel_core import ConnectError, ProgramNotFound, find_program, open_process
from prx_tunnel_core.errors import ProgramExited, TunnelError
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.node import Node, parse_node
from prx_tunnel_tailscale.reasons import NO_VERSION, TOO_OLD, explain
from prx_tunnel_tailscale.serveconfig import ServeConfig, parse_serve_config
from prx_tunnel_tailscale.version import OLDEST, Version, parse_version

INSTALL_HINT = "install it from https://tailscale.com/download, or set tunnel.tailscale.program"
DEADLINE = 10.0  # seconds; the program itself tries for two to reach its daemon
LARGEST_ANSWER = 4 * 1024 * 1024  # characters
TRIES = 5
"""What tailscaled stores has one version: of two who change it at once, one is refused."""
_STEP = 0.03  # seconds
# The program handles only SIGINT (cli/serve_v2.go); every other signal ends it as well, and
# tailscaled forgets its route at once, whatever ended it.
STOP_SIGNALS = (Signals.SIGINT, Signals.SIGTERM)
STOP_GRACE = 3.0  # seconds
_MAC_APP = "/Applications/Tailscale.app/Contents/MacOS/Tailscale"


class NoAnswer(ConnectError):
    """The program has not ended in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    returncode: int
    lines: tuple[str, ...] = field(repr=False)

    @property
    def said(self) -> str:
        """The output on one line, for an error."""
        return " | ".join(line.strip() for line in self.lines if line.strip())[:500]

    @property
    def document(self) -> str:
        """The JSON in the output, without what the program says beside it.

        Warnings ("client version … != tailscaled server version …") come on the other stream, at
        any moment. JSON lines are indented, or begin with a bracket; a sentence does neither.
        """
        return "\n".join(
            line for line in self.lines if line[:1] in "{}[] \t" or line.strip() == "null"
        )


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
        try:
            answer = await self.run("version", "--json")
        except NoAnswer as error:
            raise ConnectError(f"{error}: is it really tailscale?") from None
        version = parse_version(answer.document)
        if version is None:
            raise NO_VERSION.error(f"{self.program} version --json: {answer.said or 'nothing'}")
        if version < OLDEST:
            raise TOO_OLD.error(f"{self.program} is {version}")
        return version

    async def node(self) -> Node:
        answer = await self.run("status", "--json", "--peers=false")
        return parse_node(self._succeeded(answer).document)

    async def serve_config(self) -> ServeConfig:
        # `serve status --json` says the same.
        answer = await self.run("funnel", "status", "--json")
        return parse_serve_config(self._succeeded(answer).document)

    async def run(self, *arguments: str) -> Answer:
        """Run a command that ends by itself; ConnectError when it does not."""
        lines: list[str] = []
        size = 0

        def collect(line: str) -> None:
            nonlocal size
            size += len(line)
            if size <= LARGEST_ANSWER:
                lines.append(line)

        command = self.command(*arguments)
        async with open_process(
            command, env=self.environment, grace=1.0, on_line=collect
        ) as process:
            with anyio.move_on_after(self.patience):
                return Answer(await process.wait(), tuple(lines))
        asked = " ".join(arguments)
        raise NoAnswer(f"{self.program} does not answer `{asked}` within {self.patience:g} s")

    def _succeeded(self, answer: Answer) -> Answer:
        if answer.returncode != 0:
            raise self.failure(answer)
        return answer

    def failure(self, answer: Answer) -> TunnelError:
        """What a command that failed wanted to say."""
        return explain(
            ProgramExited(
                f"tailscale exited with code {answer.returncode}: {answer.said or 'nothing'}",
                returncode=answer.returncode,
                tail=answer.lines,
            )
        )


def announces(line: str) -> bool:
    """Whether the program says that it is done: a moment to look, no proof of anything."""
    return line.startswith(("Available on the internet", "Available within your tailnet"))


async def pause(number: int) -> None:
    """Let the rivals finish before the next try; at random, so that they do not meet again."""
    await anyio.sleep(random.uniform(_STEP, 2 * _STEP) * number)  # noqa: S311 - guards nothing
