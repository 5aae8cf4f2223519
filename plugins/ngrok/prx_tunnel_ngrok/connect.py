"""Open the tunnel that `[tunnel.ngrok]` describes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from pydantic import SecretStr

from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.errors import ConnectError, SetupError
from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.models import VisitorHeaders
from prx_tunnel_core.programs import time_left
from prx_tunnel_ngrok import policy
from prx_tunnel_ngrok.agentfile import AgentFiles, users_file, written
from prx_tunnel_ngrok.config import NgrokConfig
from prx_tunnel_ngrok.connection import Launch, Patience, RunningAgent, running
from prx_tunnel_ngrok.program import Agent, check_configuration, find_agent
from prx_tunnel_ngrok.reasons import Refusal

logger = get_logger("prx_tunnel_ngrok")


@asynccontextmanager
async def connect(
    config: NgrokConfig, target: Target, patience: Patience | None = None
) -> AsyncIterator[Connection]:
    """Yields once the agent has a session and its public URL."""
    patience = patience or Patience()
    program = await find_agent(config.program)
    users = users_file(config)
    rules = policy.build(config)
    secrets = [
        *(() if rules is None else rules.secrets()),
        *(() if users is None else users.secrets),
    ]
    with written(config, users, rules) as files:
        if users is not None:
            await check_configuration(program, files.config, secrets)
        launch = Launch(
            command=_command(config, target, program, files),
            env=_environment(config),
            secrets=secrets,
            details=_details(program, files),
        )
        pauses = iter(patience.between_tries)
        while True:
            async with running(launch, target, patience) as agent:
                refusal = await agent.connected()
                if refusal is None:
                    _compare(config, agent)
                    agent.visitor_headers = _visitor_headers(config)
                    yield agent
                    return
            await _pause(refusal, next(pauses, None))


def authtoken(config: NgrokConfig) -> SecretStr | None:
    """The token to pass on; None when ngrok's own configuration file has to have it."""
    if config.authtoken is not None:
        return config.authtoken
    inherited = os.environ.get("NGROK_AUTHTOKEN", "").strip()
    return SecretStr(inherited) if inherited else None


def _command(config: NgrokConfig, target: Target, program: Agent, files: AgentFiles) -> list[str]:
    """The arguments, without secrets: every user of this machine can read them."""
    return [
        program.path,
        "http",
        f"http://{target.authority}",
        *("--config", files.config),
        *("--log", "stdout", "--log-format", "json", "--log-level", "info"),
        *(() if config.domain is None else ("--url", f"https://{config.domain}")),
        *(() if files.policy is None else ("--traffic-policy-file", files.policy)),
        *(("--pooling-enabled",) if config.pooling else ()),
    ]


def _environment(config: NgrokConfig) -> dict[str, SecretStr]:
    token = authtoken(config)
    return {} if token is None else {"NGROK_AUTHTOKEN": token}


def _details(program: Agent, files: AgentFiles) -> dict[str, str]:
    details = {"agent": f"ngrok {program.version}"}
    if files.web_addr is not None:
        details["inspector"] = f"http://{files.web_addr}"
    return details


def _compare(config: NgrokConfig, agent: RunningAgent) -> None:
    if config.domain is not None and agent.public_url != f"https://{config.domain}":
        logger.warning("requested %s, but ngrok assigned %s", config.domain, agent.public_url)
        agent.details = {**agent.details, "asked for": config.domain}


def _visitor_headers(config: NgrokConfig) -> VisitorHeaders | None:
    """Its values stand at the end of what the visitor sent (ngrok docs, "Upstream Headers").

    A policy of the user's may remove these headers, so then nothing is certain.
    """
    if config.traffic_policy is not None:
        return None
    return VisitorHeaders(
        always=("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"),
        address="x-forwarded-for",
    )


async def _pause(refusal: Refusal, seconds: float | None) -> None:
    """Wait before the next try; raises SetupError after the last.

    Raises ConnectError when the attempt would be over first.
    """
    if seconds is None:
        raise SetupError(f"ngrok keeps refusing: {refusal}")
    if seconds > time_left():
        raise ConnectError(f"ngrok refuses: {refusal}")
    logger.info("ngrok refuses, next try in %g s: %s", seconds, refusal)
    await anyio.sleep(seconds)
