"""Third parties: the examples, the guide's tutorial and what `new-backend` writes.

Each is built, installed beside the core into an empty environment, found there, tested by its own
tests, and the examples are used with the servers that they are for.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from prx_tunnel_core._cli import main
from support.guide import GUIDE, write
from support.http_server import free_port
from support.installed import ROOT, Environment, run
from support.programs import needs_program
from support.readme import blocks
from support.tunnel_scenarios import echo_app
from support.tunnel_servers import Server, bore_server

EXAMPLES = ROOT / "examples"
NAMES = ["bore", "frp", "hello", "relay"]
STAND_IN = EXAMPLES / "prx-tunnel-frp/tests/frpc.py"
FRP = """
[tunnel]
backend = "frp"
health_check_url = false
[tunnel.frp]
server = "127.0.0.1"
token = "a-token-of-the-tests"
type = "tcp"
"""

pytestmark = pytest.mark.timeout(240)


class ThirdParties:
    def __init__(self, folder: Path) -> None:
        hello, relay = folder / "prx-tunnel-hello", folder / "prx-tunnel-relay"
        write(GUIDE, hello)
        assert main(["tunnel", "new-backend", "relay", str(relay)]) == 0
        self.folders = {
            "bore": EXAMPLES / "prx-tunnel-bore",
            "frp": EXAMPLES / "prx-tunnel-frp",
            "hello": hello,
            "relay": relay,
        }
        self.environment = Environment(folder, self.folders.values())
        self.prx = self.environment.bin / "prx"
        # Side by side, while the other tests wait for something else.
        self.tests = {
            name: self.environment.tests_of(folder) for name, folder in self.folders.items()
        }


@pytest.fixture(scope="module")
def third_parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThirdParties]:
    made = ThirdParties(tmp_path_factory.mktemp("third-parties"))
    yield made
    for process in made.tests.values():
        process.kill()
        process.communicate()


def test_the_readme_shows_the_bore_plugin_and_its_tests_whole() -> None:
    plugin = (EXAMPLES / "prx-tunnel-bore/prx_tunnel_bore.py").read_text(encoding="utf-8")
    tests = (EXAMPLES / "prx-tunnel-bore/tests/test_bore.py").read_text(encoding="utf-8")
    assert len(plugin.splitlines()) <= 40
    assert len(tests.splitlines()) <= 15
    assert plugin in blocks("python")
    assert tests in blocks("python")


def test_all_are_found_with_their_distributions(third_parties: ThirdParties) -> None:
    listing = json.loads(run(third_parties.prx, "tunnel", "backends", "--json"))
    assert {each["name"]: (each["distribution"], each["version"]) for each in listing} == {
        name: (f"prx-tunnel-{name}", "0.1.0") for name in NAMES
    }
    assert not [each["problem"] for each in listing if each["problem"]]
    assert {each["program"] for each in listing} == {"bore", "frpc", "hello", "relay"}


@pytest.mark.heavy
def test_what_new_backend_writes_is_clean(third_parties: ThirdParties, tmp_path: Path) -> None:
    folder = third_parties.folders["relay"]
    python = third_parties.environment.bin / "python"
    mypy = ("-m", "mypy", "--python-executable", python, "--cache-dir", tmp_path)
    run(sys.executable, *mypy, cwd=folder)
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=folder)
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".", cwd=folder)


@contextmanager
def started(prx: Path, config: str, folder: Path, port: int) -> Iterator[dict[str, object]]:
    """A foreground `prx tunnel start`, and what it says once it is connected."""
    path = folder / "config.toml"
    path.write_text(config, encoding="utf-8")
    environ = {
        "PATH": f"{Path(needs_program('sh')).parent}:{Path(shutil.which('bore') or '/x').parent}",
        "HOME": str(folder),
        "PRX_TUNNEL_RUNTIME_DIR": str(folder / "runtime"),
    }
    options = ["--json", "--config", str(path), "--port", str(port)]
    with subprocess.Popen(
        [str(prx), "tunnel", "start", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = next((each for each in map(json.loads, process.stdout) if each["info"]), None)
        if said is None:
            pytest.fail(process.stderr.read())
        try:
            yield said["info"]
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0


async def carries_traffic(prx: Path, config: str, folder: Path) -> str:
    """Post through the public URL of a tunnel to an app of this process; the URL."""
    async with echo_app() as app:
        with started(prx, config, folder, app.port) as info:
            url = str(info["public_url"])
            async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
                answer = await client.post(url, content=b"hello")
            assert answer.content == b"hello"
    return url


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
class TestUse:
    async def test_bore_with_a_bore_server(
        self, third_parties: ThirdParties, tmp_path: Path
    ) -> None:
        config = '[tunnel]\nbackend = "bore"\nhealth_check_url = false\n'
        config += '[tunnel.bore]\nserver = "127.0.0.1"\n'
        with bore_server(tmp_path) as server:
            await server.start()
            await carries_traffic(third_parties.prx, config, tmp_path)

    async def test_frp_with_its_stand_in(self, third_parties: ThirdParties, tmp_path: Path) -> None:
        program = tmp_path / "frpc"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{STAND_IN}" "$@"\n')
        program.chmod(0o755)
        config = f'{FRP}program = "{program}"\n'
        await carries_traffic(third_parties.prx, config, tmp_path)

    async def test_frp_with_frps_and_frpc(
        self, third_parties: ThirdParties, tmp_path: Path
    ) -> None:
        port, public = free_port(), free_port()
        (tmp_path / "frps.toml").write_text(
            f'bindAddr = "127.0.0.1"\nbindPort = {port}\nauth.token = "a-token-of-the-tests"\n'
        )
        frps = [needs_program("frps"), "-c", str(tmp_path / "frps.toml")]
        table = f'program = "{needs_program("frpc")}"\nserver_port = {port}\n'
        server = Server(frps, port, tmp_path / "frps.log")
        try:
            await server.start()
            url = await carries_traffic(
                third_parties.prx, f"{FRP}{table}remote_port = {public}\n", tmp_path
            )
        finally:
            server.kill()
        assert url == f"http://127.0.0.1:{public}"


@pytest.mark.parametrize("name", NAMES)
def test_its_own_tests_pass(name: str, third_parties: ThirdParties) -> None:
    output, _ = third_parties.tests[name].communicate(timeout=200)
    assert third_parties.tests[name].returncode == 0, output
    assert " passed" in output
