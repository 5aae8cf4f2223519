"""Each check of the doctor, and that nothing it inspects can harm it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prx_tunnel_core import Check, PluginRegistry
from prx_tunnel_core._doctor import backend as doctors_backend
from prx_tunnel_core._doctor import examine
from prx_tunnel_core._doctor import tunnel as doctors_tunnel
from support.control import served
from support.distributions import Site
from support.doctor import PROBE, SECRET, WITH_SECRET, found, only, with_probe, write
from support.memory import Memory
from support.probing import without_proxies

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """What stands below is tested on both loops; `prx` runs on this one."""
    return "asyncio"


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "runtime"
    monkeypatch.setenv("PRX_TUNNEL_RUNTIME_DIR", str(directory))
    monkeypatch.setattr(doctors_backend, "online", lambda: True)
    without_proxies(monkeypatch)
    return directory


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.touch(0o600)
    return path


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[int]:
    with socket.create_server((host, 0)) as server:
        yield server.getsockname()[1]


# Clock, plugins, configuration


async def test_what_is_well_is_said(file: Path) -> None:
    with listening() as port:
        checks = await found(file, f"{PROBE}local_port = {port}\n")
    assert all(check.verdict == "ok" for several in checks.values() for check in several)
    assert list(checks) == ["clock", "configuration", "backend", "local port", "tunnel"]
    assert only(checks, "backend") == ("ok", "probe: a probe")
    assert only(checks, "local port")[1] == f"something listens on 127.0.0.1 port {port}"


async def test_a_clock_that_was_never_set(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    verdict, detail = only(await found(file), "clock")
    assert verdict == "fail"
    assert detail.endswith("before prx was installed; set the clock")


async def test_a_plugin_that_is_broken(file: Path, site: Site) -> None:
    site.plugin("broken", "import no_such_module")
    checks = await found(file, plugins=PluginRegistry())
    verdict, detail = only(checks, "plugin broken")
    assert verdict == "fail"
    assert detail.startswith("prx-tunnel-broken 1.0: plugin 'broken' cannot be loaded")
    assert "no_such_module" in detail
    assert detail.count("prx-tunnel-broken 1.0") == 1


async def test_a_plugin_that_is_switched_off_is_nothing_to_mend(file: Path, site: Site) -> None:
    site.plugin("broken", "import no_such_module")
    plugins = PluginRegistry(environ={"PRX_TUNNEL_DISABLED_PLUGINS": "broken"})
    verdict, detail = only(await found(file, plugins=plugins), "plugin broken")
    assert (verdict, "switched off" in detail) == ("unknown", True)


async def test_a_wrong_file_ends_the_look_at_what_it_says(file: Path) -> None:
    checks = await found(file, "[tunnel]\nlocal_prot = 1\n")
    assert list(checks) == ["clock", "configuration"]
    verdict, detail = only(checks, "configuration")
    assert verdict == "fail"
    assert detail.startswith(f"{file}: ")
    assert "did you mean 'local_port'?" in detail


async def test_no_file_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("PRX_CONFIG", raising=False)
    checks = [check async for check in examine(plugins=PluginRegistry(entry_points=list))]
    assert Check("configuration", "ok", "no file; write one with: prx init") in checks
    assert any("pip install prx-tunnel-cloudflare" in check.detail for check in checks)


async def test_the_command_line_counts(file: Path) -> None:
    write(file, "[tunnel]\nbackend = 'other'\n")
    given = {"backend": "probe", "local_port": 4567}
    checks = [check async for check in examine(file, overrides=given, plugins=with_probe())]
    assert Check("backend", "ok", "probe: a probe") in checks
    assert any("127.0.0.1 port 4567" in check.detail for check in checks)


@pytest.mark.parametrize(
    ("mode", "verdict", "fix"),
    [(0o600, "unknown", "read it from the environment"), (0o644, "fail", "run: chmod go-r")],
)
async def test_a_secret_in_the_file(file: Path, mode: int, verdict: str, fix: str) -> None:
    os.chmod(file, mode)
    found_verdict, detail = only(await found(file, WITH_SECRET), "secrets")
    assert found_verdict == verdict
    assert "tunnel.probe.token" in detail
    assert fix in detail
    assert SECRET not in detail


async def test_a_file_without_secrets_may_be_read(file: Path) -> None:
    os.chmod(file, 0o644)
    assert "secrets" not in await found(file)


# The local port


async def test_a_port_of_another_user(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as port:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        monkeypatch.setattr("prx_tunnel_core.trust.problem", lambda *_: "")
        monkeypatch.setattr("prx_tunnel_core._health.local_port.ROOT", -1)
        checks = await found(file, f"{PROBE}local_port = {port}\n")
    verdict, detail = only(checks, "local port")
    assert verdict == "unknown"
    assert f"belongs to another user (uid {os.getuid()}); make sure that it is your app" in detail


# The running tunnel


async def test_a_running_tunnel_and_its_port(file: Path) -> None:
    async with served(Memory()) as tunnel:
        port = tunnel.config.local_port
        checks = await found(file, f"{PROBE}local_port = {port + 1}\n")
        assert only(checks, "tunnel") == (
            "ok",
            f"'default' is connected (process {os.getpid()})",
        )
        verdict, detail = only(checks, "restart")
        assert verdict == "fail"
        assert (
            f"'default' forwards to port {port}, but {port + 1} is configured; run: prx" in detail
        )


@pytest.mark.parametrize("answer", ["[]", "{}", "nonsense", '{"state": 1, "info": 7}'])
async def test_an_answer_that_nobody_understands(
    file: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    from prx_tunnel_core._control import client

    monkeypatch.setattr(client, "call", lambda *_: client.Reply(0, answer))
    verdict, detail = only(await found(file), "tunnel")
    assert verdict == "fail"
    assert "does not understand; restart it" in detail


async def test_a_directory_that_cannot_be_trusted(file: Path, runtime: Path) -> None:
    os.mkdir(runtime, 0o755)
    os.chmod(runtime, 0o755)
    verdict, detail = only(await found(file), "control socket")
    assert verdict == "fail"
    assert f"run: chmod 700 {runtime}" in detail


async def test_what_killed_tunnels_have_left(file: Path, runtime: Path) -> None:
    os.mkdir(runtime, 0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime / "hooks.sock"))
    async with served(Memory()):
        verdict, detail = only(await found(file), "leftover")
    assert verdict == "unknown"
    assert "tunnel 'hooks' was killed" in detail
    assert "`prx tunnel start --name hooks` removes it" in detail


@pytest.mark.parametrize("kind", ["file", "directory", "symlink", "fifo"])
async def test_what_is_in_the_way_of_a_socket(file: Path, runtime: Path, kind: str) -> None:
    path = runtime / "default.sock"
    os.mkdir(runtime, 0o700)
    match kind:
        case "file":
            path.touch()
        case "directory":
            path.mkdir()
        case "symlink":
            path.symlink_to(runtime / "elsewhere")
        case _:
            os.mkfifo(path)
    checks = await found(file)
    assert only(checks, "control socket") == (
        "fail",
        f"{path} is not a socket of this user; remove it",
    )
    assert "leftover" not in checks


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_a_socket_of_somebody_else_is_in_the_way(file: Path, runtime: Path) -> None:
    os.mkdir(runtime, 0o700)
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(runtime / "default.sock"))
        os.chown(runtime / "default.sock", 65534, -1)
        checks = await found(file)
    assert only(checks, "control socket")[0] == "fail"
    assert "leftover" not in checks


async def test_what_can_be_no_name_is_in_nobodys_way(file: Path, runtime: Path) -> None:
    os.mkdir(runtime, 0o700)
    (runtime / "Notes.sock").touch()
    assert not {"control socket", "leftover"} & set(await found(file))


async def test_a_few_drops_are_life(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(Memory()) as tunnel:
        few = doctors_tunnel.MANY_DROPS - 1
        monkeypatch.setattr(type(tunnel), "recent_drops", few)
        assert "reconnects" not in await found(file)
