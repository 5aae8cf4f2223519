"""What `prx tunnel start` says before it opens anything: which backend, secrets, the local port."""

from __future__ import annotations

import signal
import socket

import pytest

from support.command import PATIENCE, Prx, until


def test_without_a_file_it_says_which_backends_are_usable(prx: Prx) -> None:
    prx.without_file()
    done = prx("tunnel", "start")
    assert (done.returncode, done.stdout) == (2, "")
    assert "  lab         what a test says\n" in done.stderr
    assert "prx tunnel start --backend lab --port 3000\n" in done.stderr
    assert "prx tunnel start --backend ssh --port 3000\n" in done.stderr
    assert "needs configuration: prx init --backend custom" in done.stderr


@pytest.mark.parametrize("content", ["", "# [tunnel]\n", "[agent]\nmodel = 'x'\n"])
def test_n11_a_file_without_the_table_chooses_no_backend(prx: Prx, content: str) -> None:
    prx.config.write_text(content)
    done = prx("tunnel", "start")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"prx: no backend is selected: {prx.config} has no [tunnel] table, and"
    )
    assert "prx tunnel start --backend lab --port 3000\n" in done.stderr


def test_without_a_file_a_port_alone_does_not_choose_a_backend_that_is_not_there(prx: Prx) -> None:
    prx.without_file()
    prx.environ["PATH"] = str(prx.home)  # no cloudflared
    done = prx("tunnel", "start", "--port", "8000")
    assert done.returncode == 2
    assert "prx tunnel start --backend ssh --port 8000\n" in done.stderr
    assert "  cloudflare  the program cloudflared was not found" in done.stderr


def test_secrets_in_the_file_are_warned_about(prx: Prx) -> None:
    prx.configure(lab="token = 'tok-0123456789'")
    prx.config.chmod(0o644)
    process = prx.connected()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert "[WARN] tunnel.lab.token is stored in the file in plain text" in errors
    assert f"chmod go-r {prx.config}" in errors
    assert "tok-0123456789" not in errors


def test_secrets_of_observers_are_warned_about_too(prx: Prx) -> None:
    hook = "[webhooks.bot]\nkind = 'telegram'\npath = '/bot'\napi_url = 'http://127.0.0.1:9'\n"
    prx.config.write_text(
        f"{prx.config.read_text()}{hook}token = '${{TOKEN}}'\nsecret = 'sec-12345'"
    )
    prx.config.chmod(0o644)
    done = prx("tunnel", "start", "--detach", environ={"TOKEN": "1:tok-0123456789"})
    assert done.returncode == 0
    assert done.stderr.count("is stored in the file in plain text") == 1
    assert "[WARN] webhooks.bot.secret is stored in the file in plain text" in done.stderr
    assert f"chmod go-r {prx.config}" in done.stderr
    assert "sec-12345" not in done.stdout + done.stderr


def test_an_error_in_an_observers_table_names_the_file(prx: Prx) -> None:
    prx.config.write_text(f"{prx.config.read_text()}[webhooks.bot]\nkind = 'telegramm'\n")
    done = prx("tunnel", "start", "--detach")
    assert done.returncode == 2
    assert f"prx: {prx.config}: webhooks.bot.kind: 'telegramm' is not known" in done.stderr


def test_a_secret_from_the_environment_and_a_listening_port_are_fine(prx: Prx) -> None:
    prx.configure(lab="token = '${TOKEN}'")
    prx.config.chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as agent:
        port = str(agent.getsockname()[1])
        process = prx.start("--port", port, environ={"TOKEN": "tok-0123456789"})
        until(process, "PUBLIC")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE)[1] == ""
