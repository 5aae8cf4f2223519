"""A running tunnel recreates its lock, socket and directory after they were removed."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from prx_tunnel_core._control import client
from prx_tunnel_core._control.name_lock import AlreadyRunning, NameLock
from prx_tunnel_core._control.server import serve
from support.control import tunnel_over
from support.memory import Memory

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("runtime")]


def status() -> int:
    return client.call("status", "default").code


@pytest.mark.parametrize("removed", ["socket", "lock", "directory"])
async def test_h05_what_was_removed_comes_back(runtime: Path, removed: str) -> None:
    async with tunnel_over(Memory()) as tunnel, serve(tunnel, self_check=0.02):
        await tunnel.start()
        if removed == "directory":
            os.rename(runtime, f"{runtime}-away")
        else:
            os.unlink(runtime / f"default.{'sock' if removed == 'socket' else 'lock'}")
        with anyio.fail_after(20):
            while not {"default.lock", "default.sock"} <= await names_in(runtime):
                await anyio.sleep(0.01)
            while await anyio.to_thread.run_sync(status) != 0:
                await anyio.sleep(0.01)
        with pytest.raises(AlreadyRunning):
            await NameLock.acquire("default")


async def test_h05_what_cannot_come_back_is_tried_again(
    runtime: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with tunnel_over(Memory()) as tunnel, serve(tunnel, self_check=0.02):
        os.rename(runtime, f"{runtime}-away")
        os.mkdir(runtime, 0o755)
        os.chmod(runtime, 0o755)
        with anyio.fail_after(20):
            while caplog.text.count("is open to other users; run: chmod 700") < 3:
                await anyio.sleep(0.01)
        os.chmod(runtime, 0o700)
        await tunnel.start()
        with anyio.fail_after(20):
            while await anyio.to_thread.run_sync(status) != 0:
                await anyio.sleep(0.01)


async def test_h05_meanwhile_a_client_says_who_holds_the_name(runtime: Path) -> None:
    async with tunnel_over(Memory()) as tunnel, serve(tunnel):
        (runtime / "default.sock").unlink()
        reply = await anyio.to_thread.run_sync(client.call, "stop", "default")
        assert reply.code == 1
        assert f"(process {os.getpid()}) cannot be reached" in reply.text


async def test_files_that_are_in_use_look_used(runtime: Path) -> None:
    """Unused files of the runtime directory may be removed after six hours (XDG)."""
    async with tunnel_over(Memory()) as tunnel, serve(tunnel, self_check=0.02):
        files = [runtime / name for name in os.listdir(runtime)]
        for file in files:
            os.utime(file, (0, 0))
        with anyio.fail_after(20):
            while any(os.stat(file).st_mtime < 1000 for file in files):
                await anyio.sleep(0.01)


async def names_in(directory: Path) -> set[str]:
    try:
        return set(os.listdir(directory))
    except FileNotFoundError:
        return set()
