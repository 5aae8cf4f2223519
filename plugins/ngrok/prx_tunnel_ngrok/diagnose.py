"""What `prx tunnel doctor` can find out without opening a tunnel."""

from __future__ import annotations

import re
from collections.abc import Iterable

from prx_tunnel_core.errors import ConfigError, TunnelError
from prx_tunnel_core.models import Check
from prx_tunnel_ngrok import policy
from prx_tunnel_ngrok.agentfile import UsersFile, default_path, users_file, written
from prx_tunnel_ngrok.config import NgrokConfig
from prx_tunnel_ngrok.connect import authtoken
from prx_tunnel_ngrok.program import check_configuration, find_agent

# Two parts of letters and digits; the dashboard shows credentials by an id that looks similar.
_TOKEN = re.compile(r"[A-Za-z0-9]{10,}_[A-Za-z0-9]{10,}")
_IDS = ("cr_", "ak_", "rd_", "ep_", "ts_", "tn_")
PATIENCE = 4.0  # seconds for each question; doctor gives ten to the whole diagnosis
_WHERE = "https://dashboard.ngrok.com/get-started/your-authtoken"


async def diagnose(config: NgrokConfig) -> Iterable[Check]:
    """Program, configuration file, token and policy; nothing leaves this machine."""
    try:
        users = users_file(config)
    except ConfigError as error:
        return [Check("configuration", "fail", str(error))]
    return [*await _program(config, users), _token(config, users), *_policy(config)]


async def _program(config: NgrokConfig, users: UsersFile | None) -> list[Check]:
    try:
        agent = await find_agent(config.program, patience=PATIENCE)
    except TunnelError as error:
        return [Check("program", "fail", str(error))]
    found = Check("program", "ok", f"{agent.path} is ngrok {agent.version}")
    if users is None:
        return [found, Check("configuration", "ok", f"no {default_path()}, which is optional")]
    try:
        with written(config, users, None) as files:
            await check_configuration(agent, files.config, users.secrets, patience=PATIENCE)
    except TunnelError as error:
        return [found, Check("configuration", "fail", str(error))]
    return [found, Check("configuration", "ok", f"{users.path} is valid")]


def _token(config: NgrokConfig, users: UsersFile | None) -> Check:
    token = authtoken(config)
    if token is None:
        if users is not None and users.secrets:
            return Check("authtoken", "ok", f"in {users.path}")
        return Check("authtoken", "fail", f"none is set; set tunnel.ngrok.authtoken from {_WHERE}")
    return _shape(token.get_secret_value().strip())


def _shape(token: str) -> Check:
    if token.startswith(_IDS):
        return Check("authtoken", "fail", f"this is an id, not the token; the token is at {_WHERE}")
    if not _TOKEN.fullmatch(token):
        return Check(
            "authtoken", "fail", f"does not have the form of a token; copy it again from {_WHERE}"
        )
    return Check("authtoken", "ok", "has the form of a token; only ngrok's service can verify it")


def _policy(config: NgrokConfig) -> list[Check]:
    try:
        rules = policy.build(config)
    except ConfigError as error:
        return [Check("traffic policy", "fail", str(error))]
    if rules is None:
        return [Check("traffic policy", "ok", "none: anyone who knows the URL has access")]
    kinds = [action.get("type") for action in rules.actions()]
    return [Check("traffic policy", "ok", ", ".join(map(str, kinds)))]
