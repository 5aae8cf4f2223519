"""What a person at a terminal sees: a real one (a pty), narrow, without colours, with Ctrl-C."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager

import pytest

from support.command import PATIENCE, Prx
from support.terminal import Terminal, terminal

URL = "https://a-rather-long-name-of-four-words.trycloudflare.com"


def start(prx: Prx, columns: int = 80, **environ: str) -> AbstractContextManager[Terminal]:
    """`prx tunnel start` at a terminal."""
    env = {**prx.environ, "TERM": "xterm-256color", **environ}
    return terminal(prx.command("tunnel", "start"), env, columns)


@pytest.mark.parametrize("columns", [20, 80])
def test_the_url_stands_alone_and_whole(prx: Prx, columns: int) -> None:
    prx.configure(lab=f"url = '{URL}'")
    with start(prx, columns) as screen:
        screen.until("connected fo")  # the living line is cut, and only that
        lines = screen.text.splitlines()
        assert URL in lines
        assert "[WARN] this is PUBLIC: anyone with the URL can reach localhost:3000" in lines
        assert f"[INFO] Tunnel connected: {URL} -> localhost:3000" in lines
        screen.type("\x03")
        assert screen.end() == 0
        assert "[INFO] Tunnel stopped" in screen.seen
        assert "Traceback" not in screen.seen
    assert prx.left() == ["default.lock"]


def test_ctrl_c_twice_is_one_clean_stop(prx: Prx) -> None:
    with start(prx) as screen:
        screen.until("connected for")
        screen.type("\x03\x03\x03")
        assert screen.end() == 0
        assert "Traceback" not in screen.seen


def test_a_reconnect_shows_its_reason_and_counts_down(prx: Prx) -> None:
    gate = prx.home / "gate"
    os.mkfifo(gate)
    prx.configure(lab=f"gate = '{gate}'")
    slow = prx.config.read_text().replace("_ms = 10\n", "_ms = 60000\n")
    prx.config.write_text(slow.replace("_ms = 1\n", "_ms = 60000\n"))
    with start(prx) as screen:
        screen.until("connected for")
        gate.write_text("the server closed the connection")
        screen.until(": the server closed the connection")
        screen.until("reconnecting: attempt 1 of 10 in ")
        assert "\x1b[33m" in screen.seen


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_h20_without_colours(prx: Prx, variable: str, value: str) -> None:
    with start(prx, 80, **{variable: value}) as screen:
        screen.until("PUBLIC")
        screen.type("\x03")
        assert screen.end() == 0
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", screen.seen)


def test_a_failure_is_said_once_at_the_end(prx: Prx) -> None:
    prx.configure(lab="steps = ['setup the token is not valid']")
    with start(prx) as screen:
        assert screen.end() == 1
        assert screen.seen.count("the token is not valid") == 1
        assert screen.seen.endswith("prx: the token is not valid\r\n")


def test_the_closing_of_the_terminal_is_a_clean_stop(prx: Prx) -> None:
    with start(prx) as screen:
        screen.until("connected for")
        screen.close()
        assert screen.process.wait(PATIENCE) == 0
    assert prx.left() == ["default.lock"]
