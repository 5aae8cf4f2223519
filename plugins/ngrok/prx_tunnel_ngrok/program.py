"""Whether the program called `ngrok` is ngrok's agent, and recent enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import SecretStr

from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.process import find_program
from prx_tunnel_core.programs import Version, program_version, run_command
from prx_tunnel_ngrok.reasons import words

INSTALL_HINT = "install the ngrok agent, version 3: https://ngrok.com/download"
# The first with `--url`, and with version 3 of its configuration file. ngrok's service refuses
# agents of version 2 (ERR_NGROK_121).
MINIMUM = Version(3, 16)
ANSWER = 15.0  # seconds for a command that only prints; a cold start from a slow disk takes some


@dataclass(frozen=True, slots=True)
class Agent:
    """The agent's program."""

    path: str
    version: Version


async def find_agent(program: str, *, patience: float = ANSWER) -> Agent:
    """The agent of that name or path.

    Raises ProgramNotFound when there is none, SetupError when it is something else or too old, and
    ConnectError when it does not answer within `patience` seconds.
    """
    path = find_program(program, hint=INSTALL_HINT)
    fix = f"{INSTALL_HINT}, and set tunnel.ngrok.program to its path"
    if _is_pyngrok(path):
        raise SetupError(
            f"{path} is not ngrok but a command of the Python package pyngrok, which downloads one "
            f"when it is run; {fix}"
        )
    version = await program_version(
        [path, "version"],
        name="the ngrok agent",
        prefix="ngrok version ",
        minimum=MINIMUM,
        fix=f"run `ngrok update`, or {fix}",
        patience=patience,
    )
    return Agent(path, version)


async def check_configuration(
    agent: Agent, files: str, secrets: Iterable[SecretStr], *, patience: float = ANSWER
) -> None:
    """Have the agent read its configuration files.

    Agents have ignored an invalid file and gone on without its settings. Raises SetupError with
    the agent's own message, ConnectError when it does not answer within `patience` seconds.
    """
    output = await run_command(
        [agent.path, "config", "check", "--config", files],
        secrets=(secret.get_secret_value() for secret in secrets),
        patience=patience,
    )
    if output.returncode != 0:
        raise SetupError(f"ngrok refuses its configuration: {words(chr(10).join(output.lines))}")


def _is_pyngrok(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError:
        return False  # a script has to be read in order to be run
    return start.startswith(b"#!") and b"pyngrok" in start
