"""Real ASGI servers and frameworks, each with a tunnel for its life."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from support.hosts import Host, children_of, get, refuses, status_of
from support.proc import gone, program

TOKEN = {"authorization": "Bearer correct-horse-battery"}


def uvicorn(host: Host, app: str, *options: str) -> list[str]:
    return ["uvicorn", app, "--port", str(host.port), "--log-level", "warning", *options]


@pytest.mark.parametrize(
    "app", ["starlette_app:app", "litestar_app:own", "litestar_app:app", "django_app:app",
            "plain_app:app"],
)  # fmt: skip
def test_a_visitor_reaches_the_application_and_nothing_is_left(host: Host, app: str) -> None:
    process = host.start(*uvicorn(host, app))
    url = host.public_url()
    assert get(url)["url"] == url
    process.send_signal(signal.SIGINT)
    assert process.wait(20) in (0, -signal.SIGINT)  # uvicorn passes it on when it has ended
    assert refuses(url)
    assert "Traceback" not in host.log.read_text()
    assert os.listdir(host.where / "run") == ["default.lock"]


def test_on_trio(host: Host) -> None:
    command = program("print:up at https://lab.example.com", "hang")
    pattern = {"command": command, "url_pattern": "up at (https://.*)"}
    process = host.start(
        *("hypercorn", "starlette_app:app", "-k", "trio", "--bind", f"127.0.0.1:{host.port}"),
        TUNNEL=json.dumps({"backend": "custom", "custom": pattern, "health_check_url": False}),
    )
    assert host.public_url() == "https://lab.example.com"
    children = children_of(process.pid)
    assert children
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    gone(children, within=5)


def test_visitors_have_no_address_of_this_machine_and_need_the_token(host: Host) -> None:
    """Uvicorn itself would believe their X-Forwarded-For: they come from 127.0.0.1."""
    host.start(*uvicorn(host, "starlette_app:app"))
    url = host.public_url()
    for spoofed in ({}, {"x_forwarded_for": "127.0.0.1"}, {"host": "localhost"}):
        visit = get(url, **spoofed)
        assert (visit["public"], visit["client"], visit["own"]) == (True, None, 5)
    assert status_of(f"{url}/admin") == 401
    assert status_of(f"{url}/admin", host="localhost", x_real_ip="127.0.0.1") == 401
    assert status_of(f"{url}/admin", **TOKEN) == 200
    assert status_of(f"{host.url}admin") == 401  # over bare TCP, nothing tells it from a visitor


def test_a_private_port_is_for_clients_of_this_machine(host: Host) -> None:
    """The tunnel leads to another one."""
    host.start(*uvicorn(host, "starlette_app:app"), PRIVATE_PORT=str(host.port), PORT="3999")
    answer = host.ask("admin")
    assert (answer["public"], answer["client"]) == (False, "127.0.0.1")


def test_a_host_that_crashes_at_its_start_opens_nothing(host: Host) -> None:
    process = host.start(*uvicorn(host, "starlette_app:app"), CRASH="1")
    assert process.wait(20) == 3
    assert "the database is gone" in host.log.read_text()
    assert not (host.where / "run").exists()


def test_a_host_that_waits_fails_when_its_tunnel_does(host: Host) -> None:
    host.environ["PRX_TUNNEL_DISABLED_PLUGINS"] = "*"
    process = host.start(*uvicorn(host, "starlette_app:app"), WAIT="1")
    assert process.wait(20) == 3
    assert "tunnel 'default' is not connected" in host.log.read_text()


def test_a_host_that_does_not_wait_lives_without_a_tunnel(host: Host) -> None:
    host.environ["PRX_TUNNEL_DISABLED_PLUGINS"] = "*"
    host.start(*uvicorn(host, "starlette_app:app"))
    assert host.ask()["url"] is None
    assert host.prx("tunnel", "status").returncode == 4
    assert "tunnel default: " in host.log.read_text()


def test_the_url_survives_a_reload(host: Host) -> None:
    (host.where / "config.toml").write_text(
        f"[tunnel]\nbackend = 'ssh'\nlocal_port = {host.port}\nhealth_check_url = false\n"
    )
    code = host.where / "reloaded.py"
    code.write_text("from fastapi_app import app\n")
    started = host.prx("tunnel", "start", "--detach", "--json")
    try:
        assert started.returncode == 0, started.stderr
        host.environ["PYTHONPATH"] += f":{host.where}"
        host.start(*uvicorn(host, "reloaded:app", "--reload", "--reload-dir", str(host.where)))
        url = host.public_url()
        assert get(url) == {"url": url, "attached": True}
        (before,) = workers(host)
        code.write_text("from fastapi_app import app\n\nagain = True\n")
        host.until(lambda: before not in workers(host))
        assert host.public_url() == url
        assert get(url)["attached"]
    finally:
        assert host.prx("tunnel", "stop").returncode == 0
    assert refuses(url)


def workers(host: Host) -> list[int]:
    """The processes of uvicorn that serve, not those that only watch."""
    (process,) = host._started
    return [pid for pid in children_of(process.pid) if b"spawn_main" in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_workers_of_one_server_share_one_tunnel(host: Host) -> None:
    process = host.start(*uvicorn(host, "plain_app:app", "--workers", "2"))
    url = host.public_url()
    said: dict[int, str | None] = {}

    def both_say_it() -> bool:
        answer = host.ask()
        said[answer["pid"]] = answer["url"]
        return list(said.values()) == [url, url]

    host.until(both_say_it)
    assert host.prx("tunnel", "status").returncode == 0
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    assert refuses(url)
