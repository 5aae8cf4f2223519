"""The server proves who it is, against a real sshd."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prx_tunnel_ssh.config import ANY_HOST_KEY, SshConfig
from prx_tunnel_ssh.connect import connect
from prx_tunnel_ssh.diagnose import diagnose
from ssh_programs import PATIENCE, App, OpenSSHServer, make_key

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import SetupError

pytestmark = pytest.mark.anyio


async def setup_error(config: SshConfig) -> str:
    with pytest.raises(SetupError) as caught:
        async with asyncio.timeout(PATIENCE), connect(config, Target("127.0.0.1", 9)):
            pass
    return str(caught.value)


def fingerprint(key: Path) -> str:
    import asyncssh

    return str(asyncssh.read_public_key(str(key) + ".pub").get_fingerprint())


async def test_the_error_for_an_unknown_host_holds_the_line_that_makes_it_known(
    sshd: OpenSSHServer, app: App
) -> None:
    sshd.known_hosts.unlink()
    config = SshConfig(**sshd.settings())
    async with sshd.serve():
        error = await setup_error(config)
        assert fingerprint(sshd.host_key) in error
        assert f"ssh-keyscan -p {sshd.port} -t ed25519 127.0.0.1 >> {sshd.known_hosts}" in error
        (line,) = [part for part in error.splitlines() if part.startswith("  [127.0.0.1]")]
        sshd.known_hosts.write_text(line.strip() + "\n")
        async with connect(config, app.target):
            pass


async def test_the_user_s_known_hosts_are_the_default(
    sshd: OpenSSHServer, app: App, home: Path
) -> None:
    config = SshConfig(**{k: v for k, v in sshd.settings().items() if k != "known_hosts"})
    async with sshd.serve():
        assert str(home / ".ssh/known_hosts") in await setup_error(config)
        (home / ".ssh/known_hosts").write_bytes(sshd.known_hosts.read_bytes())
        async with connect(config, app.target) as connection:
            assert connection.details["host key"] == fingerprint(sshd.host_key)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
async def test_a_host_key_that_has_changed(sshd: OpenSSHServer, tmp_path: Path, kind: str) -> None:
    before = fingerprint(sshd.host_key)
    sshd.host_key = make_key(tmp_path / "new", kind)
    async with sshd.serve():
        error = await setup_error(SshConfig(**sshd.settings()))
    assert "has changed" in error
    assert f"expected ed25519 {before}" in error
    assert f"{kind} {fingerprint(sshd.host_key)}" in error
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}' -f {sshd.known_hosts}" in error


async def test_the_known_key_is_asked_for_among_several(
    sshd: OpenSSHServer, app: App, tmp_path: Path
) -> None:
    second = make_key(tmp_path / "ecdsa", "ecdsa")
    public = second.with_suffix(".pub").read_text()
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {public}")
    async with sshd.serve(f"HostKey {second}"), connect(SshConfig(**sshd.settings()), app.target):
        pass


async def test_verification_is_off_only_when_asked_for_in_so_many_words(
    sshd: OpenSSHServer, app: App
) -> None:
    config = SshConfig(**sshd.settings(known_hosts=ANY_HOST_KEY))
    async with sshd.serve(), connect(config, app.target):
        pass
    assert [c.verdict for c in await diagnose(config) if c.name == "host key"] == ["fail"]


async def test_a_known_hosts_file_that_makes_no_sense(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("nonsense\n")
    error = await setup_error(SshConfig(host="127.0.0.1", known_hosts=str(path)))
    assert str(path) in error
    assert "Invalid known hosts entry: nonsense" in error


async def test_a_revoked_key(sshd: OpenSSHServer) -> None:
    sshd.known_hosts.write_text("@revoked " + sshd.known_hosts.read_text())
    async with sshd.serve():
        assert "revoked" in (await setup_error(SshConfig(**sshd.settings()))).lower()
