"""Real synchronous hosts: application servers on threads, scripts, a notebook."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from support.hosts import PATIENCE, Host, get, refuses


def test_flask_on_threads(host: Host) -> None:
    process = host.start("flask_app")
    url = host.public_url()
    answer = get(url)
    assert answer["url"] == url
    assert answer["public"] is True
    assert answer["thread"] != "MainThread"
    assert get(f"{url}/health") == {"verdict": "healthy"}
    assert answer["seen"][-1] == "Connected"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) in (0, 1, 130, -signal.SIGINT)
    assert refuses(url)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_flask_that_is_ended_leaves_nothing(host: Host, number: signal.Signals) -> None:
    process = host.start("flask_app")
    url = host.public_url()
    process.send_signal(number)
    assert process.wait(20) == -number
    assert refuses(url)


def gunicorn(host: Host, app: str, *options: str) -> list[str]:
    return ["gunicorn", app, "--bind", f"127.0.0.1:{host.port}", "--threads", "4",
            "--log-level", "warning", *options]  # fmt: skip


def test_django_on_gunicorns_threads(host: Host) -> None:
    process = host.start(*gunicorn(host, "django_app:app"), DJANGO="wsgi")
    url = host.public_url()
    assert get(url) == {"url": url, "public": True}
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert refuses(url)


def test_workers_that_are_forked_after_the_start_harm_nobody(host: Host) -> None:
    """`--preload` opens the tunnel in the parent; its workers come and go."""
    app = host.where / "preloaded.py"
    app.write_text(
        "import os\n"
        "from prx_tunnel_core import blocking\n"
        "port = int(os.environ['PORT'])\n"
        "tunnel = blocking.start({'backend': 'ssh', 'local_port': port})\n"
        "url = tunnel.info.public_url\n"
        "def app(environ, start_response):\n"
        "    try:\n"
        "        tunnel.health_check()\n"
        "    except RuntimeError as error:\n"
        "        said = str(error)\n"
        "    start_response('200 OK', [])\n"
        '    return [(\'{"url": "%s", "said": "%s", "pid": %d}\' '
        "             % (url, said, os.getpid())).encode()]\n"
    )
    process = host.start(*gunicorn(host, "preloaded:app", "--preload", "--max-requests", "1"))
    url = host.public_url()
    pids = set()
    for _ in range(6):  # each worker ends after a few requests
        answer = get(url)
        assert "our parent" in answer["said"]
        pids.add(answer["pid"])
    host.until(lambda: get(url)["pid"] not in pids)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert refuses(url)


NOTEBOOK = """
import asyncio
from prx_tunnel_core import blocking

async def cells():
    ticks = []
    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0.001)
    ticking = asyncio.create_task(tick())
    tunnel = blocking.start({'backend': 'ssh', 'local_port': PORT}, wait=False)
    while tunnel.info is None:
        await asyncio.sleep(0.01)  # the loop of this thread goes on
    assert len(ticks) > 1
    again = blocking.start({'backend': 'ssh', 'local_port': PORT})  # waits, loop or not
    print(tunnel.info.public_url, again.info.public_url, flush=True)
    again.close()
    again.close()
    await asyncio.sleep(0.01)
    ticking.cancel()

asyncio.run(cells())
"""


def test_a_loop_in_the_same_thread_is_not_disturbed_and_nothing_hangs_at_the_end(
    host: Host,
) -> None:
    """What a notebook does, its kernel's end included: one tunnel is never closed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NOTEBOOK.replace("PORT", str(host.port))],
        env=host.environ, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("embedded relay: ")]
    assert said == []
    assert all(map(refuses, done.stdout.split()))
