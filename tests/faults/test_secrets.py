"""K: where a secret could come out, one place after the other; test_canary.py looks at them all."""

from __future__ import annotations

import argparse
import copy
import json
import os
import pickle
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from prx_tunnel_core import PluginRegistry, Tunnel
from prx_tunnel_core._cli.parser import build
from prx_tunnel_core.config import TunnelConfig, validate
from prx_tunnel_core.text import MASK, Redactor
from support.command import Prx
from support.faults import Programs
from support.proc import pid_of, program

pytestmark = pytest.mark.anyio

CANARY = "canary-0123456789"


AS_NOBODY = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for pid in sys.argv[1:]:
    print(open(f"/proc/{pid}/cmdline").read())
    try:
        print(open(f"/proc/{pid}/environ").read())
    except PermissionError:
        print("closed")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_k01_what_another_user_can_read_of_the_whole_tree() -> None:
    child = "child:pid:child;hang"
    up = "print:https://agent.example.com"
    programs = Programs(program(child, up, "hang"), env={"TOKEN": SecretStr(CANARY)})
    async with programs.tunnel() as tunnel:
        await tunnel.start()
        pids = [str(programs.latest.pid), str(await pid_of(programs.latest, "child"))]
        read = await anyio.run_process([sys.executable, "-c", AS_NOBODY, *pids])
    text = read.stdout.decode()
    assert text.count(up) == 2
    assert text.count("closed") == 2
    assert CANARY not in text


def test_k05_a_wrong_sibling_of_a_secret(prx: Prx) -> None:
    prx.configure(lab=f"token = '{CANARY}'\nverdict = '{CANARY}'\nstepps = ['{CANARY}']")
    for arguments in (["start"], ["start", "--detach"], ["doctor", "--json"]):
        done = prx("tunnel", *arguments)
        said = done.stdout + done.stderr
        assert "tunnel.lab.verdict: input should be 'ok', 'fail' or 'unknown'" in said
        assert CANARY not in said
        assert "Traceback" not in said


def test_k06_no_form_of_the_settings_shows_a_secret() -> None:
    table = {"authtoken": CANARY, "basic_auth": [f"user:{CANARY}"]}
    tunnel = validate(TunnelConfig, {"backend": "ngrok", "ngrok": table}, path="tunnel")
    settings = validate(PluginRegistry().backend("ngrok").config, table, path="tunnel.ngrok")
    for config in (tunnel, settings):
        for form in (config, copy.copy(config), copy.deepcopy(config), config.model_copy(),
                     pickle.loads(pickle.dumps(config))):  # fmt: skip
            shown = [repr(form), str(form), f"{form}", form.model_dump_json(), str(form.__dict__)]
            shown += [json.dumps(form.model_dump(mode="json")), str(form.model_dump())]
            if form is not tunnel:
                shown.append(str(vars(form)))
            assert CANARY not in "".join(shown), form
    assert CANARY not in repr(PluginRegistry().backend("ngrok")) + repr(Tunnel(tunnel))


async def test_k08_what_runs_a_program_shows_no_argument(caplog: pytest.LogCaptureFixture) -> None:
    """Also not one that a user gave in the command itself."""
    caplog.set_level("DEBUG")
    programs = Programs(program("print:https://agent.example.com", f"print:--token={CANARY}",
                                "exit:1"))  # fmt: skip
    programs.commands = ([*programs.commands[0][:4], "exit:1", f"--token={CANARY}"],)
    async with programs.tunnel(reconnect={"enabled": False}) as tunnel:
        with pytest.raises(Exception, match="exited with code 1") as caught:
            await tunnel.start()
    assert CANARY not in f"{caught.value!r} {programs.started!r} {caplog.text}"


def test_k09_nobody_can_have_a_core_file_or_the_environment(prx: Prx) -> None:
    script = prx.home / "program"
    script.write_text("#!/bin/sh\necho at https://a.example.com\nexec sleep 1000\n")
    script.chmod(0o755)
    prx.config.write_text(
        "[tunnel]\nbackend = 'custom'\nhealth_check_url = false\n"
        f"[tunnel.custom]\ncommand = ['{script}']\nurl_pattern = 'at (.*)'\n"
        f"env.TOKEN = '{CANARY}'\n"
    )
    daemon = prx.detach()
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    holds = [
        pid for pid in children if CANARY.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    ]
    assert len(holds) == 1
    for pid in (str(daemon), *holds):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 ", limits, re.MULTILINE)
        assert stat.S_IMODE(os.stat(f"/proc/{pid}/environ").st_mode) == 0o400


async def test_k10_a_file_for_a_program_is_private_and_goes(tmp_path: Path) -> None:
    from prx_tunnel_ngrok import policy
    from prx_tunnel_ngrok.agentfile import written
    from prx_tunnel_ngrok.config import NgrokConfig

    config = NgrokConfig(basic_auth=[SecretStr(f"user:{CANARY}")])
    before = os.umask(0)
    try:
        with written(config, None, policy.build(config)) as files:
            (path,) = (each for each in paths_in(repr(files)) if CANARY in each.read_text())
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert not path.parent.exists()


def paths_in(text: str) -> list[Path]:
    return [Path(found) for found in re.findall(r"'(/[^',]+)'", text)]


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Of the command and of all below it."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options(below)


def test_k11_no_option_takes_a_secret(prx: Prx) -> None:
    """It would stand in the shell's history, and in /proc for everybody."""
    secret = re.compile("token|secret|passw|key|auth|credential")
    found = list(options(build()))
    assert "--backend" in found
    assert not [option for option in found if secret.search(option)]
    for given in ([f"--token={CANARY}"], ["--token", CANARY]):
        done = prx("tunnel", "start", *given)
        assert done.returncode == 2
        assert "unrecognized arguments: --token\n" in done.stderr
        assert CANARY not in done.stderr


@pytest.mark.parametrize("short", ["", "a", "abc", "  a  "])
def test_k12_a_secret_too_short_to_be_masked(prx: Prx, short: str) -> None:
    """Masked, it would hide half of every text; shown, it would be no secret."""
    assert Redactor([short])("a tunnel abc of many letters") == "a tunnel abc of many letters"
    prx.configure(lab=f"token = '{short}'")
    done = prx("tunnel", "start")
    assert done.returncode == 2
    assert "tunnel.lab.token: a secret has at least 4 characters" in done.stderr


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("via http://me:pa:ss@proxy:3128/", f"via http://me:{MASK}@proxy:3128/"),
        (
            "GET https://a.example.com/?token=abcd&x=1",
            f"GET https://a.example.com/?token={MASK}&x=1",
        ),
        ('"https://a/x?a=b&auth_token=abcd"', f'"https://a/x?a=b&auth_token={MASK}"'),
        ("wss://a/?API-KEY=abcd", f"wss://a/?API-KEY={MASK}"),
        ("https://a:8080/b@c?keyboard=x", "https://a:8080/b@c?keyboard=x"),
        ("https://a@b.example.com", "https://a@b.example.com"),
    ],
)
def test_k13_what_a_url_carries(line: str, shown: str) -> None:
    assert Redactor()(line) == shown


async def test_k13_a_program_that_tells_its_proxy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The one variable with a secret in it that every program inherits."""
    caplog.set_level("DEBUG")
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{CANARY}@127.0.0.1:1")
    programs = Programs(program("env:HTTPS_PROXY", "exit:1"))
    async with programs.tunnel(reconnect={"enabled": False}) as tunnel:
        with pytest.raises(Exception, match="exited with code 1") as caught:
            await tunnel.start()
    assert f"HTTPS_PROXY=http://me:{MASK}@127.0.0.1:1" in str(caught.value)
    assert CANARY not in str(caught.value) + caplog.text


def test_k14_the_most_talkative_interpreter(prx: Prx) -> None:
    prx.configure(lab=f"token = '{CANARY}'\nsteps = ['fail {CANARY}']", reconnect="enabled = false")
    environ = {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "always"}
    done = prx("tunnel", "start", "--detach", environ=environ)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, f"prx: {MASK}")
    log = (prx.home / ".local/state/prx-tunnel/log/default.log").read_text()
    assert MASK in log
    assert CANARY not in done.stdout + done.stderr + log


def test_k04_a_defect_of_the_backend_is_told_without_its_secret(prx: Prx) -> None:
    """What no backend should raise, in the layer where nobody expects it."""
    module = prx.home / "site" / "prx_tunnel_lab.py"
    text = module.read_text().replace(
        '    if step == "fail":',
        "    raise RuntimeError(config.token.get_secret_value())\n    if 1:",
    )
    module.write_text(text)
    prx.configure(lab=f"token = '{CANARY}'", reconnect="enabled = false")
    done = subprocess.run(prx.command("tunnel", "start"), env=prx.environ, capture_output=True,
                          text=True, timeout=30, check=False)  # fmt: skip
    assert done.returncode == 1
    assert f"a defect of backend 'lab': RuntimeError: {MASK}" in done.stderr
    assert CANARY not in done.stdout + done.stderr
