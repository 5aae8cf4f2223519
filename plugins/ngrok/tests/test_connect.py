"""Opening a tunnel with a real child process."""

from __future__ import annotations

import json
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from prx_tunnel_ngrok.connect import connect

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import ConfigError, SetupError

if TYPE_CHECKING:
    from conftest import StandIn

pytestmark = pytest.mark.anyio

URL = "https://abcd-203-0-113-7.ngrok-free.app"


def folders(where: Path) -> list[Path]:
    return list(where.glob("prx-tunnel-private-*"))


async def test_visitors_reach_it(standin: StandIn, target: Target) -> None:
    async with connect(standin.config(), target) as connection:
        assert connection.public_url == URL
        assert connection.details["agent"] == "ngrok 3.39.1"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", connection.details["inspector"])
        assert [check.verdict for check in await connection.check()] == ["ok", "ok"]
        (run,) = standin.runs()
        assert not run.is_gone
    assert run.is_gone


async def test_what_the_agent_is_given(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_TOKEN", "nobody's business")
    config = standin.config(
        authtoken="token-token", domain="my.example.com", pooling=True, deny_cidrs=["10.0.0.0/8"]
    )
    async with connect(config, Target("::1", 3000)) as connection:
        assert connection.public_url == "https://my.example.com"
    (run,) = standin.runs()
    ours, policy = run.argv[3], run.argv[-2]
    assert run.argv == [
        *("http", "http://[::1]:3000", "--config", ours),
        *("--log", "stdout", "--log-format", "json", "--log-level", "info"),
        *("--url", "https://my.example.com", "--traffic-policy-file", policy, "--pooling-enabled"),
    ]
    assert run.env["NGROK_AUTHTOKEN"] == "token-token"
    assert "OTHER_TOKEN" not in run.env
    assert {file["mode"] for file in run.files.values()} == {"0o600"}
    page = connection.details["inspector"].removeprefix("http://")
    assert run.files[ours]["text"] == (
        f'version: 3\nagent:\n  web_addr: "{page}"\n  console_ui: false\n  update_check: false\n'
    )
    assert list(json.loads(run.files[policy]["text"])) == ["on_http_request"]
    assert not Path(ours).parent.exists()


async def test_only_what_is_asked_for_is_given(standin: StandIn, target: Target) -> None:
    async with connect(standin.config(inspector=False), target) as connection:
        assert "inspector" not in connection.details
        assert [check.name for check in await connection.check()] == ["session"]
    (run,) = standin.runs()
    assert not {"--url", "--traffic-policy-file", "--pooling-enabled"} & set(run.argv)
    assert "NGROK_AUTHTOKEN" not in run.env
    assert "web_addr: false" in run.files[run.argv[3]]["text"]


async def test_the_token_of_the_environment_is_used_when_none_is_set(
    standin: StandIn, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGROK_AUTHTOKEN", "from-environment\n")
    async with connect(standin.config(), target):
        pass
    assert standin.runs()[0].env["NGROK_AUTHTOKEN"] == "from-environment"


async def test_a_port_for_the_page(standin: StandIn, target: Target, busy_port: int) -> None:
    free = busy_port + 1
    async with connect(standin.config(inspector_port=free), target) as connection:
        assert connection.details["inspector"] == f"http://127.0.0.1:{free}"


@pytest.mark.parametrize(
    ("text", "format_of_ours"),
    [
        ('version: "2"\nauthtoken: users-own-token\n', 'version: "2"\nweb_addr: '),
        ("version: 3\nagent:\n  authtoken: users-own-token\n", "version: 3\nagent:\n  web_addr: "),
    ],
)
async def test_the_users_file_comes_first_and_ours_wins(
    standin: StandIn, target: Target, text: str, format_of_ours: str
) -> None:
    users = Path.home() / ".config/ngrok/ngrok.yml"
    users.parent.mkdir(parents=True)
    users.write_text(text)
    async with connect(standin.config(), target):
        pass
    (run,) = standin.runs()
    first, second = run.argv[3].split(",")
    assert first == str(users)
    assert run.files[second]["text"].startswith(format_of_ours)
    assert users.read_text() == text


async def test_another_file_of_the_user(standin: StandIn, target: Target, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text("version: 3\n")
    async with connect(standin.config(config_file=str(mine)), target):
        pass
    assert standin.runs()[0].argv[3].split(",")[0] == str(mine)


async def test_a_file_that_cannot_be_used(standin: StandIn, target: Target, tmp_path: Path) -> None:
    for name, complaint in {
        "none.yml": "No such file",
        "a,b.yml": "has a comma",
        "": "Is a directory",
    }.items():
        if "," in name:
            (tmp_path / name).write_text("version: 3\n")
        with pytest.raises(ConfigError, match=complaint):
            async with connect(standin.config(config_file=str(tmp_path / name)), target):
                pass
    assert standin.runs() == []


async def test_a_file_that_ngrok_refuses_stops_it_before_it_starts(
    standin: StandIn, target: Target, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.yml"
    mine.write_text("version: 3\nagent: {authtoken: [\n")
    error = f"ERROR:  Error reading configuration file '{mine}': yaml: line 2: did not find node"
    standin.write(check=[1, ["", error]])
    with pytest.raises(SetupError) as caught:
        async with connect(standin.config(config_file=str(mine)), target):
            pass
    assert str(caught.value).startswith("ngrok refuses its configuration: Error reading")
    assert "line 2" in str(caught.value)
    assert standin.runs() == []


async def test_another_name_than_was_asked_for_is_told(
    standin: StandIn, target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"msg": "started tunnel", "name": "command_line", "addr": "http://127.0.0.1:3000"}
    standin.does(["resume", ["print", json.dumps(given | {"url": URL})]])
    async with connect(standin.config(domain="my.example.com"), target) as connection:
        assert connection.public_url == URL
        assert connection.details["asked for"] == "my.example.com"
    assert f"requested my.example.com, but ngrok assigned {URL}" in caplog.text


async def test_a_tunnel_before_its_session_is_no_connection(
    standin: StandIn, target: Target
) -> None:
    given = {"msg": "started tunnel", "name": "command_line", "addr": "http://127.0.0.1:3000"}
    early = ["print", json.dumps(given | {"url": URL})]
    standin.does([early, ["tell", "announced"], ["gate", "later"], "resume"])
    async with anyio.create_task_group() as tasks:

        async def let_it() -> None:
            await standin.told("announced")
            assert not connected
            standin.open("later")

        connected: list[str] = []
        tasks.start_soon(let_it)
        async with connect(standin.config(), target) as connection:
            connected.append(connection.public_url)
    assert connected == [URL]


async def test_cancelled_in_the_middle_nothing_is_left(
    standin: StandIn, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    standin.does([["tell", "started"]])
    async with anyio.create_task_group() as tasks:

        async def try_it() -> None:
            async with connect(standin.config(), target):
                pytest.fail("there was nothing to connect to")

        tasks.start_soon(try_it)
        await standin.told("started")
        assert folders(tmp_path)
        tasks.cancel_scope.cancel()
    assert standin.runs()[0].is_gone
    assert not folders(tmp_path)


async def test_the_folder_of_our_files_is_ours_alone(
    standin: StandIn, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with connect(standin.config(), target):
        (folder,) = folders(tmp_path)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folders(tmp_path)


async def test_stopping_is_quick_and_in_order(standin: StandIn, target: Target) -> None:
    async with connect(standin.config(), target) as connection:
        before = time.monotonic()
    assert time.monotonic() - before < 4  # the grace is 5
    assert connection.process.returncode == 0  # type: ignore[attr-defined]


async def test_an_agent_that_ignores_the_signal_is_killed(
    standin: StandIn, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_ngrok.connection.GRACE", 0.1)
    standin.does(["ignore_term", "connect"])
    async with connect(standin.config(), target) as connection:
        pass
    assert connection.process.returncode == -9  # type: ignore[attr-defined]
