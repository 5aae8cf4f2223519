from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prx_tunnel_ngrok import diagnose as module
from prx_tunnel_ngrok.diagnose import diagnose

if TYPE_CHECKING:
    from conftest import StandIn

pytestmark = pytest.mark.anyio

TOKEN = "2abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUV"


async def found(standin: StandIn, **settings: Any) -> dict[str, tuple[str, str]]:
    checks = await diagnose(standin.config(**settings))
    assert standin.runs() == []  # no tunnel was opened
    return {check.name: (check.verdict, check.detail) for check in checks}


def users_file(text: str) -> Path:
    path = Path.home() / ".config/ngrok/ngrok.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


async def test_all_is_well(standin: StandIn) -> None:
    checks = await found(standin, authtoken=TOKEN, basic_auth=["ann:password1"])
    assert {verdict for verdict, _ in checks.values()} == {"ok"}
    assert checks["program"][1] == f"{standin.program} is ngrok 3.39.1"
    assert checks["traffic policy"][1] == "basic-auth"


async def test_an_open_tunnel_is_told(standin: StandIn) -> None:
    checks = await found(standin, authtoken=TOKEN)
    assert checks["traffic policy"] == ("ok", "none: anyone who knows the URL has access")


async def test_the_program_is_version_2(standin: StandIn) -> None:
    standin.write(version="2.3.41")
    verdict, detail = (await found(standin, authtoken=TOKEN))["program"]
    assert verdict == "fail"
    assert "ngrok agent 2.3.41, but 3.16.0 or newer is required; run `ngrok update`" in detail


async def test_there_is_no_program(standin: StandIn) -> None:
    verdict, detail = (await found(standin, program="/nowhere/ngrok"))["program"]
    assert verdict == "fail"
    assert "https://ngrok.com/download" in detail


@pytest.mark.parametrize(
    ("token", "verdict", "words"),
    [
        (TOKEN, "ok", "has the form of a token"),
        ("4nq9771bPxe8ctg7LKr_2ClH7Y15Zqe4bWLWF9p", "ok", "has the form of a token"),
        ("cr_3HmX6ePwXAdpz8Ryj37VcxPShK6", "fail", "an id, not the token"),
        ("short", "fail", "does not have the form of a token"),
        (f"{TOKEN} ", "ok", "has the form of a token"),
        (f"authtoken: {TOKEN}", "fail", "does not have the form of a token"),
        ("${NGROK_AUTHTOKEN}", "fail", "does not have the form of a token"),
    ],
)
async def test_the_shape_of_the_token(
    standin: StandIn, token: str, verdict: str, words: str
) -> None:
    seen, detail = (await found(standin, authtoken=token))["authtoken"]
    assert seen == verdict
    assert words in detail
    assert token not in detail


async def test_no_token_anywhere(standin: StandIn) -> None:
    assert (await found(standin))["authtoken"][0] == "fail"


async def test_the_token_is_in_ngroks_own_file(standin: StandIn) -> None:
    users = users_file(f"version: 3\nagent:\n  authtoken: {TOKEN}\n")
    checks = await found(standin)
    assert checks["authtoken"] == ("ok", f"in {users}")
    assert checks["configuration"] == ("ok", f"{users} is valid")


async def test_ngroks_own_file_is_broken(standin: StandIn) -> None:
    users_file("version: 3\nagent: [")
    standin.write(check=[1, ["ERROR:  Error reading configuration file: yaml: line 2"]])
    verdict, detail = (await found(standin))["configuration"]
    assert verdict == "fail"
    assert "yaml: line 2" in detail


async def test_the_named_file_is_missing(standin: StandIn) -> None:
    checks = await found(standin, config_file="/nowhere/ngrok.yml")
    assert list(checks) == ["configuration"]
    assert checks["configuration"][0] == "fail"


async def test_the_policy_cannot_be_read(standin: StandIn) -> None:
    checks = await found(standin, authtoken=TOKEN, traffic_policy="/nowhere/policy.yml")
    assert checks["traffic policy"][0] == "fail"
    assert checks["program"][0] == "ok"


async def test_a_program_that_never_answers_hides_nothing_else(
    standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    program = tmp_path / "ngrok"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    checks = await found(standin, program=str(program))
    assert checks["program"] == (
        "fail",
        f"{program} did not answer `version` within 0.2 s; check that it is the ngrok agent",
    )
    assert checks["authtoken"][0] == "fail"
    assert checks["traffic policy"][0] == "ok"
