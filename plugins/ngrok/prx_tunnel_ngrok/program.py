"""Whether what is called `ngrok` is ngrok's agent, and one that we can drive."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import anyio
from pydantic import SecretStr

from prx_tunnel_core.errors import ConnectError, SetupError
from prx_tunnel_core.process import TunnelProcess, find_program, open_process
from prx_tunnel_ngrok.reasons import words

INSTALL_HINT = "install the ngrok agent, version 3: https://ngrok.com/download"
# The first with `--url`, and with version 3 of its configuration file.
OLDEST = (3, 16, 0)
ANSWER = 15.0  # seconds for a command that only prints; a cold start from a slow disk takes some
SHOWN = 500  # characters of what something else said
_VERSION = re.compile(r"^ngrok version (\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Agent:
    """The agent's program."""

    path: str
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


async def recognise(program: str, *, patience: float = ANSWER) -> Agent:
    """The agent behind that name or path.

    Raises ProgramNotFound when there is none, SetupError when it is something else or too old, and
    ConnectError when it gives no answer within `patience` seconds.
    """
    path = find_program(program, hint=INSTALL_HINT)
    if _is_pyngrok(path):
        raise SetupError(
            f"{path} is not ngrok but a command of the Python package pyngrok, which downloads one "
            f"when it is run; {INSTALL_HINT}, and set tunnel.ngrok.program to its path"
        )
    try:
        _, printed = await _run([path, "version"], patience)
    except TimeoutError:
        raise ConnectError(
            f"{path} does not answer `version` within {patience:g} s: is it really ngrok?"
        ) from None
    found = next(filter(None, map(_VERSION.match, printed)), None)
    if found is None:
        said = " | ".join(printed[:3])[:SHOWN] or "nothing"
        raise SetupError(
            f"{path} is not the ngrok agent: asked for its version it said {said!r}; "
            f"{INSTALL_HINT}, and set tunnel.ngrok.program to its path"
        )
    version = (int(found[1]), int(found[2]), int(found[3]))
    if version < OLDEST:
        raise SetupError(_too_old(path, version))
    return Agent(path, version)


async def check_configuration(
    agent: Agent, files: str, secrets: Iterable[SecretStr], *, patience: float = ANSWER
) -> None:
    """Have the agent read its configuration files.

    Raises SetupError with what it says is wrong, ConnectError when it gives no answer within
    `patience` seconds. A file that is not valid has been ignored by agents: they went on without
    its settings.
    """
    command = [agent.path, "config", "check", "--config", files]
    try:
        code, printed = await _run(command, patience, secrets)
    except TimeoutError:
        raise ConnectError(
            f"{agent.path} does not answer `config check` within {patience:g} s"
        ) from None
    if code != 0:
        said = words("\n".join(printed))
        raise SetupError(f"ngrok refuses its configuration: {said}")


async def _run(
    command: list[str], patience: float, secrets: Iterable[SecretStr] = ()
) -> tuple[int, list[str]]:
    """The exit code of a command that only prints, and the last lines that say something.

    Raises TimeoutError when it does not end within `patience` seconds.
    """
    plain = (secret.get_secret_value() for secret in secrets)
    with anyio.fail_after(patience):
        async with open_process(command, secrets=plain, grace=1.0) as process:
            code = await process.wait()
            return code, _said(process)


def _said(process: TunnelProcess) -> list[str]:
    return [line.strip() for line in process.tail if line.strip()]


def _is_pyngrok(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError:
        return False  # a script has to be read in order to be run
    return start.startswith(b"#!") and b"pyngrok" in start


def _too_old(path: str, version: tuple[int, int, int]) -> str:
    text = ".".join(map(str, version))
    if version[0] < 3:
        return (
            f"{path} is ngrok {text}: ngrok's service refuses agents of version 2 "
            f"(ERR_NGROK_121), and its arguments differ; {INSTALL_HINT}"
        )
    oldest = ".".join(map(str, OLDEST))
    return f"{path} is ngrok {text}, {oldest} is the oldest that can be used; run: ngrok update"
