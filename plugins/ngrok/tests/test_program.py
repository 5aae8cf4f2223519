"""What is called `ngrok` is not always ngrok."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prx_tunnel_ngrok.connect import connect
from prx_tunnel_ngrok.program import find_agent

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import ConnectError, ProgramNotFound, SetupError
from prx_tunnel_core.programs import Version

if TYPE_CHECKING:
    from conftest import StandIn

pytestmark = pytest.mark.anyio


def script(folder: Path, text: str) -> str:
    folder.mkdir()
    path = folder / "ngrok"
    path.write_text(text)
    path.chmod(0o700)
    return str(path)


async def test_version_3(standin: StandIn) -> None:
    agent = await find_agent(str(standin.program))
    assert agent.path == str(standin.program)
    assert agent.version == Version(3, 39, 1)


async def test_it_is_found_on_path(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(standin.folder))
    assert (await find_agent("ngrok")).path == str(standin.program)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.3.41", "but 3.16.0 or newer is required; run `ngrok update`, or install"),
        ("3.2.2", "but 3.16.0 or newer is required; run `ngrok update`"),
        ("3.15.9", "but 3.16.0 or newer is required"),
    ],
)
async def test_too_old(standin: StandIn, target: Target, version: str, expected: str) -> None:
    standin.write(version=version)
    with pytest.raises(SetupError) as caught:
        async with connect(standin.config(), target):
            pass
    assert expected in str(caught.value)
    assert f"{standin.program} is the ngrok agent {version}, " in str(caught.value)
    assert standin.runs() == []


@pytest.mark.parametrize("version", ["3.16.0", "3.100.2-rc1", "4.0.0"])
async def test_new_enough(standin: StandIn, version: str) -> None:
    standin.write(version=version)
    await find_agent(str(standin.program))


async def test_the_command_of_pyngrok_is_not_even_run(tmp_path: Path) -> None:
    # As pip writes it for pyngrok's entry point; run, it would download a program.
    shim = script(
        tmp_path / "bin",
        f"#!{sys.executable}\n# -*- coding: utf-8 -*-\nimport sys\n"
        "from pyngrok.ngrok import main\nif __name__ == '__main__':\n    sys.exit(main())\n",
    )
    with pytest.raises(SetupError) as caught:
        await find_agent(shim)
    assert "a command of the Python package pyngrok" in str(caught.value)
    assert "set tunnel.ngrok.program" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\necho 'Error: Cannot find module ngrok'\nexit 1\n", "Cannot find module"),
        ("#!/bin/sh\n", "printed nothing"),
        ("#!/bin/sh\necho frobnicate 3.2.1\n", "frobnicate 3.2.1"),
        ("#!/bin/sh\necho 'not ngrok version 3.20.0'\n", "not ngrok version"),
    ],
)
async def test_something_else_of_that_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SetupError) as caught:
        await find_agent(script(tmp_path / "bin", text))
    assert "is not the ngrok agent" in str(caught.value)
    assert said in str(caught.value)


async def test_a_wrapper_around_ngrok_is_ngrok(standin: StandIn, tmp_path: Path) -> None:
    wrapper = script(tmp_path / "wrap", f'#!/bin/sh\nexec {standin.program} "$@"\n')
    assert (await find_agent(wrapper)).version == Version(3, 39, 1)


async def test_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramNotFound) as caught:
        await find_agent("ngrok")
    assert "https://ngrok.com/download" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


async def test_one_that_gives_no_answer(tmp_path: Path) -> None:
    silent = script(tmp_path / "bin", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(ConnectError) as caught:
        await find_agent(silent, patience=0.2)
    assert str(caught.value) == (
        f"{silent} did not answer `version` within 0.2 s; check that it is the ngrok agent"
    )


async def test_one_that_says_too_much(tmp_path: Path) -> None:
    flood = script(tmp_path / "bin", "#!/bin/sh\nhead -c 30000000 /dev/zero | tr '\\0' 'x'\n")
    with pytest.raises(SetupError, match="is not the ngrok agent") as caught:
        await find_agent(flood)
    assert len(str(caught.value)) < 1000
