"""`prx start` without a command: what arrives is printed."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from support.command import PATIENCE, Prx, until
from support.http_server import free_port


@pytest.fixture
def port(prx: Prx) -> int:
    return prx.use_port(free_port())


@pytest.fixture
def inbox(prx: Prx, port: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        prx.command("start"), env=prx.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        until(process, "PUBLIC")
        yield process
        process.kill()


def send(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        client.request(method, path, body or None, named)
        return client.getresponse().status
    finally:
        client.close()


def test_it_prints_what_arrives(inbox: subprocess.Popen[str], port: int) -> None:
    assert send(port, "POST", "/hook?x=1", b'{"a": 1}\n{"b": 2}', content_type="text/plain") == 200
    lines = until(inbox, '"b"')
    assert lines == ["POST /hook?x=1 (text/plain, 17 bytes)\n", '  {"a": 1}\n', '  {"b": 2}\n']
    assert send(port, "GET", "/browser") == 200
    assert until(inbox, "GET") == ["GET /browser (no content type, 0 bytes)\n"]


def test_s16_no_header_hides_a_request(inbox: subprocess.Popen[str], port: int) -> None:
    forged = {"user_agent": "prx-tunnel (health check)", "x_prx_tunnel_probe": "0" * 32}
    assert send(port, "GET", "/forged", b"", **forged) == 200
    assert until(inbox, "GET") == ["GET /forged (no content type, 0 bytes)\n"]


def test_s16_a_request_does_not_flood_the_screen(inbox: subprocess.Popen[str], port: int) -> None:
    send(port, "A" * 5000, "/p", b"\n" * 1900, content_type="x" * 12_000)
    lines = until(inbox, "…\n")
    assert len(lines) < 40
    assert max(map(len, lines)) < 800


def test_strangers_cannot_play_with_the_terminal(inbox: subprocess.Popen[str], port: int) -> None:
    body = b"\x1b[2J\x1b]0;title\x07red\xff\r\nnext " + b"y" * 3000
    send(port, "POST", "/p" + "a" * 900, body, content_type="a\x1b[31mb")
    first, *others = until(inbox, "…")
    assert len(first) < 600
    assert first.endswith(f"(ab, {len(body)} bytes)\n")
    assert others[0].startswith("  red")
    assert sum(map(len, others)) < 2100
    assert "\x1b" not in first + "".join(others)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_clean_stop(
    prx: Prx, inbox: subprocess.Popen[str], number: signal.Signals
) -> None:
    inbox.send_signal(number)
    output, _ = inbox.communicate(timeout=PATIENCE)
    assert (inbox.returncode, output) == (0, "[INFO] Tunnel stopped\n")
    assert prx.left() == ["default.lock"]


def test_a_port_that_is_taken(prx: Prx) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = prx.use_port(other.getsockname()[1])
        done = prx("start")
    assert done.returncode == 1
    assert f"prx: cannot listen on localhost:{taken}" in done.stderr
    assert "prx tunnel start" in done.stderr
    assert prx.left() == []


def test_without_a_tunnel_table_it_is_for_this_machine_only(prx: Prx) -> None:
    port = free_port()
    prx.config.write_text(f"[gateway]\nport = {port}\n")
    with subprocess.Popen(
        prx.command("start"), env=prx.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert "nothing is exposed" in until(process, "No command given")[0]
        assert send(port, "POST", "/", b"x") == 200
        assert prx("tunnel", "status").returncode == 3
        process.terminate()
        assert process.wait(PATIENCE) == 0
