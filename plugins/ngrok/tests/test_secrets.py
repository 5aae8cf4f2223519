"""A canary token goes through every failure and is found nowhere but in the agent's environment."""

from __future__ import annotations

import base64
import io
import json
import logging
import traceback
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from prx_tunnel_ngrok.connect import connect
from prx_tunnel_ngrok.connection import Patience, RunningAgent
from prx_tunnel_ngrok.diagnose import diagnose

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import TunnelError

if TYPE_CHECKING:
    from conftest import StandIn

pytestmark = pytest.mark.anyio

# With characters that quoting changes.
CANARY = 'cAnArY"2abc/DEF+ghi_9='
PASSWORD = "cAnArYpassword/+"
SPELLINGS = {
    CANARY,
    json.dumps(CANARY)[1:-1],
    urllib.parse.quote(CANARY, safe=""),
    base64.b64encode(CANARY.encode()).decode().rstrip("="),
    "cAnArY",
}
SOON = Patience(start=0.3, between_tries=(0.01,), refused=0.05)
LOSE = ["lose", f"lost {CANARY}"]
FAILURES: dict[str, list[Any]] = {
    **{f"auth {code}": [["refuse_auth", code]] for code in ("105", "107", "108", "128", "4018")},
    **{f"bind {code}": [["refuse_bind", code]] for code in ("319", "334")},
    **{f"again {code}": ["connect", LOSE, ["retry_refused", code]] for code in ("105", "107")},
    "for ever": [["retry", f"dial {CANARY}: refused"]],
    "plain": [["print", f"ERROR:  Your authtoken: {CANARY}"], ["exit", 1]],
    "stderr": [["complain", f"panic: {CANARY}"], ["exit", 2]],
    "in quotes": [["print", urllib.parse.quote(CANARY, safe="")], ["exit", 2]],
    "in base64": [["print", base64.b64encode(CANARY.encode()).decode()], ["exit", 2]],
    "policy": [["print", f"ERROR:  invalid traffic policy: {PASSWORD}"], ["exit", 1]],
    "unknown flag": [["print", f"ERROR:  unknown flag: --{CANARY}"], ["exit", 1]],
    "dies": ["connect", ["complain", CANARY], ["exit", 1]],
    "lost": ["connect", LOSE],
    "silence": [],
}


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that is logged, at every level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(before)
    root.removeHandler(handler)


def told(error: BaseException) -> str:
    """The error as a person, a log and a debugger would see it, with the variables of our code."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in shown.stack if "prx_tunnel_ngrok" in frame.filename]
    variables = [value for frame in ours for value in (frame.locals or {}).values()]
    return "\n".join([str(error), repr(error), *traceback.format_exception(error), *variables])


async def use(standin: StandIn, config: Any) -> str:
    """Connect, stay for a moment, and return everything that was to be seen."""
    seen: list[str] = [repr(config)]
    try:
        async with connect(config, Target("127.0.0.1", 3000), SOON) as connection:
            assert isinstance(connection, RunningAgent)
            with anyio.move_on_after(0.3):
                seen.append(await connection.wait_closed())
            seen += map(repr, await connection.check())
            seen += [repr(connection.details), repr(connection.process), *connection.process.tail]
            seen += [connection.log.error, *connection.log.plain, repr(connection)]
    except TunnelError as error:
        seen.append(told(error))
    seen += map(repr, await diagnose(config))
    seen += [word for run in standin.runs() for word in run.argv]
    return "\n".join(seen)


def assert_clean(text: str) -> None:
    for spelling in SPELLINGS:
        assert spelling not in text


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_token_of_ours(standin: StandIn, failure: str, logged: io.StringIO) -> None:
    standin.does(FAILURES[failure])
    config = standin.config(authtoken=CANARY, basic_auth=[f"user:{PASSWORD}"])
    assert_clean(await use(standin, config))
    assert_clean(logged.getvalue())
    for run in standin.runs():
        assert [key for key, value in run.env.items() if "cAnArY" in value] == ["NGROK_AUTHTOKEN"]
        policies = [path for path, file in run.files.items() if "cAnArY" in file["text"]]
        assert [Path(path).name for path in policies] == ["policy.json"]
        assert not any(CANARY in file["text"] for file in run.files.values())
        assert not any(map(_exists, policies))
    # Short commands are given no token at all.
    assert_clean((standin.folder / "calls.jsonl").read_text())


@pytest.mark.parametrize("failure", ["auth 107", "again 107", "plain", "check"])
async def test_a_token_of_ngroks_own_file(
    standin: StandIn, failure: str, logged: io.StringIO
) -> None:
    canary = "cAnArY2abcDEFghi_9"
    users = Path.home() / ".config/ngrok/ngrok.yml"
    users.parent.mkdir(parents=True)
    users.write_text(f"version: 3\nagent:\n  authtoken: '{canary}'  # mine\n")
    if failure == "check":
        standin.write(check=[1, [f"ERROR:  cannot unmarshal !!str `{canary}` into int"]])
    else:
        steps = json.loads(json.dumps(FAILURES[failure]).replace(json.dumps(CANARY)[1:-1], canary))
        standin.does(steps)
    assert_clean(await use(standin, standin.config()))
    assert_clean(logged.getvalue())


async def test_the_search_would_find_it(standin: StandIn) -> None:
    """The stand-in does echo the token, and only masking keeps it from us."""
    standin.does(FAILURES["auth 107"])
    text = await use(standin, standin.config(authtoken=CANARY))
    assert "Your authtoken: **********" in text
    with pytest.raises(AssertionError):
        assert_clean(f"… {CANARY} …")


def _exists(path: str) -> bool:
    return Path(path).exists()
