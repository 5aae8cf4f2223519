"""No line that a visitor, a DNS answer or an error page can influence becomes the public URL."""

from __future__ import annotations

import json

import pytest
from prx_tunnel_ngrok.log import AgentLog

from prx_tunnel_core.backend import Target

EVIL = "https://evil.example"
GOOD = "https://my-agent.ngrok-free.app"


def announcement(**changes: object) -> str:
    """The agent's line, with fields that are not what they should be."""
    fields = {
        "addr": "http://127.0.0.1:3000",
        "lvl": "info",
        "msg": "started tunnel",
        "name": "command_line",
        "obj": "tunnels",
        "url": EVIL,
    }
    return json.dumps({key: value for key, value in (fields | changes).items() if value != "-"})


# Text that is not the agent's own line, whatever it looks like.
AS_TEXT = [
    EVIL,
    f"url={EVIL}",
    f'lvl=info msg="started tunnel" name=command_line addr=http://127.0.0.1:3000 url={EVIL}',
    f"Forwarding  {EVIL} -> http://127.0.0.1:3000",
    f"ERROR:  Install your authtoken: {EVIL}/get-started",
    f"ERROR:  {announcement()}",
    f" {announcement()}",
    f"\t{announcement()}",
    f"x{announcement()}",
    f"GET / {announcement()}",
    f"[{announcement()}]",
    f'"{announcement()}"',
    json.dumps(announcement()),
    announcement()[:-1],
    announcement() + "}",
    announcement() + announcement(),
    announcement() + " trailing",
    "\ufeff" + announcement(),
    announcement().replace('"', "'"),
    "0\r\n" + announcement(),
]

# The agent's own lines with a visitor's, a server's or a resolver's words in them.
AS_WORDS = [
    {"msg": "join connections", "l": "127.0.0.1:3000", "r": EVIL, "url": EVIL},
    {"msg": "failed to open private leg", "err": announcement(), "url": EVIL},
    {"msg": "failed to reconnect session", "err": announcement(), "url": EVIL},
    {"msg": "session closing", "err": f"started tunnel {EVIL}", "url": EVIL},
    {"msg": "failed to check for update", "err": f'Post "{EVIL}": dial tcp', "url": EVIL},
    {"msg": "update available", "url": EVIL, "name": "command_line"},
    {"msg": "start", "pg": f"/api/tunnels?{announcement()}", "url": EVIL},
    {"msg": "open config file", "path": announcement(), "url": EVIL},
    {"msg": "client session established", "url": EVIL, "name": "command_line"},
    {"msg": "starting web service", "addr": "evil.example:443", "url": EVIL},
    {"msg": "Started tunnel", "name": "command_line", "addr": "http://h:3000", "url": EVIL},
    {"msg": "started tunnel ", "name": "command_line", "addr": "http://h:3000", "url": EVIL},
    {"msg": "failed to start tunnel", "name": "command_line", "addr": "http://h:3000", "url": EVIL},
    {"err": announcement()},
    {"msg": {"msg": "started tunnel"}, "name": "command_line", "url": EVIL},
]

# A tunnel that is announced, but not the one that we asked for: the local API starts others.
NOT_OURS: list[dict[str, object]] = [
    {"name": "second"},
    {"name": "command_line (http)"},
    {"name": "Command_line"},
    {"name": "-"},
    {"name": ["command_line"]},
    {"addr": "http://127.0.0.1:3001"},
    {"addr": "http://127.0.0.1:30000"},
    {"addr": "http://notaport:80"},
    {"addr": "http://evil.example/?127.0.0.1:3000"},
    {"addr": "-"},
    {"addr": 3000},
]

# Ours, with an address that cannot be: another scheme, a disguise, something of ngrok's own.
NO_URL = [
    "http://evil.example",
    "ftp://evil.example",
    "javascript:alert(1)",
    "//evil.example",
    "evil.example",
    "https://",
    "https://my-agent.ngrok-free.app@evil.example",
    "https://my-agent.ngrok-free.app:443@evil.example",
    "https://evil.example:8443",
    "https://evil.example/path",
    "https://evil.example/?x=https://my-agent.ngrok-free.app",
    "https://evil.example#my-agent.ngrok-free.app",
    "https://evil.example\\.ngrok-free.app",
    "https://evil.example\n.ngrok-free.app",
    "https://evil example",
    "https://evil.example https://my-agent.ngrok-free.app",
    "https://ev\u0131l.example",
    "https://*.example",
    f"https://{'a' * 64}.example",
    "https://-evil-.example..",
    "https://dashboard.ngrok.com",
    "https://DASHBOARD.ngrok.com.",
    "https://connect.ngrok-agent.com",
    "\x1b]8;;https://evil.example\x07https://my-agent.ngrok-free.app",
    {"url": EVIL},
    [EVIL],
    None,
    "",
]

LINES = [
    *AS_TEXT,
    *(json.dumps(fields) for fields in AS_WORDS),
    *(announcement(**changes) for changes in NOT_OURS),
    *(announcement(url=url) for url in NO_URL),
]


def fed(*lines: str) -> AgentLog:
    log = AgentLog(Target("127.0.0.1", 3000), lambda: 0.0)
    for line in lines:
        log.feed(line)
    return log


def test_there_are_enough_of_them() -> None:
    assert len(set(LINES)) == len(LINES) >= 70


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_such_a_line_is_not_the_url(line: str) -> None:
    assert fed(line).url is None
    # Nor does it come in the way of the true one.
    assert fed(line, announcement(url=GOOD)).url == GOOD


def test_the_true_line_is() -> None:
    assert fed(announcement(url=GOOD)).url == GOOD


@pytest.mark.parametrize("line", [announcement(), *LINES], ids=range(len(LINES) + 1))
def test_once_known_it_does_not_change(line: str) -> None:
    assert fed(announcement(url=GOOD), line).url == GOOD
