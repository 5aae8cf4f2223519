"""How the backend proves who it is: files, a real agent, passwords."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest
from prx_tunnel_ssh.config import ANY_HOST_KEY, SshConfig
from prx_tunnel_ssh.connect import connect
from prx_tunnel_ssh.credentials import open_keys
from prx_tunnel_ssh.diagnose import diagnose
from prx_tunnel_ssh.hostkeys import read_known_hosts
from pydantic import SecretStr
from ssh_programs import PATIENCE, App, OpenSSHServer, find_program, make_key, run

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import SetupError

pytestmark = pytest.mark.anyio


async def setup_error(config: SshConfig) -> str:
    with pytest.raises(SetupError) as caught:
        async with asyncio.timeout(PATIENCE), connect(config, Target("127.0.0.1", 9)):
            pass
    return str(caught.value)


@asynccontextmanager
async def agent_with(directory: Path, *keys: Path) -> AsyncIterator[str]:
    socket = str(directory / "agent")
    async with run([find_program("ssh-agent"), "-D", "-a", socket]) as program:
        await program.line("SSH_AUTH_SOCK")
        for key in keys:
            subprocess.run(  # noqa: ASYNC221
                [find_program("ssh-add"), "-q", str(key)],
                check=True,
                env={"SSH_AUTH_SOCK": socket, "PATH": "/usr/bin:/bin"},
            )
        yield socket


async def test_a_key_in_an_agent(sshd: OpenSSHServer, app: App, tmp_path: Path) -> None:
    async with sshd.serve(), agent_with(tmp_path, sshd.client_key) as socket:
        config = SshConfig(**sshd.settings(agent=socket, identity_file=None))
        async with connect(config, app.target):
            pass


async def test_the_agent_of_the_environment_is_the_default(
    sshd: OpenSSHServer, app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SshConfig(host="127.0.0.1", port=sshd.port, known_hosts=str(sshd.known_hosts))
    async with sshd.serve(), agent_with(tmp_path, sshd.client_key) as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        async with connect(config, app.target):
            pass
        assert "none is configured: set" in (
            await setup_error(config.model_copy(update={"agent": False}))
        )


async def test_an_agent_left_behind_in_the_environment_does_no_harm(
    sshd: OpenSSHServer, app: App, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "gone"))
    shutil.copy(sshd.client_key, home / ".ssh/id_ed25519")
    config = SshConfig(host="127.0.0.1", port=sshd.port, known_hosts=str(sshd.known_hosts))
    async with sshd.serve(), connect(config, app.target):
        pass
    assert "none answers" in await setup_error(config.model_copy(update={"agent": True}))


async def test_a_public_key_chooses_among_those_of_the_agent(
    sshd: OpenSSHServer, app: App, tmp_path: Path
) -> None:
    others = [make_key(tmp_path / f"other{n}") for n in range(2)]
    public = str(sshd.client_key) + ".pub"
    async with (
        sshd.serve("MaxAuthTries 1"),
        agent_with(tmp_path, *others, sshd.client_key) as socket,
    ):
        config = SshConfig(**sshd.settings(agent=socket, identity_file=public))
        async with connect(config, app.target):
            pass
        missing = str(make_key(tmp_path / "missing")) + ".pub"
        error = await setup_error(config.model_copy(update={"identity_file": missing}))
        assert "ssh-add" in error


async def test_an_agent_that_is_wanted_and_not_there() -> None:
    config = SshConfig(host="127.0.0.1", known_hosts=ANY_HOST_KEY, agent=True)
    assert "SSH_AUTH_SOCK is not set" in await setup_error(config)
    checks = {check.name: check for check in await diagnose(config)}
    assert checks["credentials"].verdict == "fail"


async def test_identity_files_of_no_use(tmp_path: Path) -> None:
    async def error_for(path: Path) -> str:
        return await setup_error(
            SshConfig(host="127.0.0.1", known_hosts=ANY_HOST_KEY, identity_file=str(path))
        )

    text = tmp_path / "text"
    text.write_text("not a key")
    text.chmod(0o600)
    encrypted = make_key(tmp_path / "encrypted", passphrase="long enough")
    assert "No such file" in await error_for(tmp_path / "missing")
    assert "is not a private key" in await error_for(text)
    assert f"ssh-add {encrypted}" in await error_for(encrypted)


async def test_s05_a_key_that_others_can_read_or_change(
    tmp_path: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = make_key(tmp_path / "key")
    config = SshConfig(host="127.0.0.1", known_hosts=ANY_HOST_KEY, identity_file=str(key))
    key.chmod(0o644)
    error = await setup_error(config)
    assert error == (
        f"identity_file: cannot read {key}: not trusted: it is secret and can be read by other "
        f"users (mode 644); run: chmod 600 {key}"
    )
    key.chmod(0o600)
    os.chmod(tmp_path, 0o777)
    assert f"the folder {tmp_path} can be changed by other users" in await setup_error(config)
    os.chmod(tmp_path, 0o755)
    public = key.with_suffix(".pub")
    public.chmod(0o666)
    named = config.model_copy(update={"identity_file": str(public)})
    async with agent_with(tmp_path, key) as socket:
        error = await setup_error(named.model_copy(update={"agent": socket}))
    assert f"run: chmod go-w {public}" in error
    # As OpenSSH does, it goes on without one that was not asked for by name.
    default = home / ".ssh/id_ed25519"
    shutil.copy(key, default)
    default.chmod(0o604)
    async with open_keys(SshConfig(host="127.0.0.1")) as keys:
        assert keys == []
    assert f"a key is not offered: {default}: not trusted: it is secret" in caplog.text


async def test_s05_known_hosts_that_others_can_change(tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.touch()
    known.chmod(0o644)
    config = SshConfig(host="127.0.0.1", known_hosts=str(known))
    assert read_known_hosts(config).keys == ()
    known.chmod(0o666)
    error = await setup_error(config)
    assert error == (
        f"known_hosts: cannot read {known}: not trusted: it can be changed by other users "
        f"(mode 666); run: chmod go-w {known}"
    )


class _PasswordServer(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == "correct horse battery"

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return True


async def test_a_password_opens_the_tunnel_and_is_told_to_nobody(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    acceptor = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=_PasswordServer, server_host_keys=[key], config=None
    )
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "asyncssh")
    config = SshConfig(
        host="127.0.0.1",
        port=acceptor.get_port(),
        known_hosts=ANY_HOST_KEY,
        password=SecretStr("correct horse battery"),
    )
    async with connect(config, app.target) as connection:
        assert "correct horse" not in repr((config, connection.details))
    wrong = config.model_copy(update={"password": SecretStr("wrong horse battery")})
    error = await setup_error(wrong)
    assert "with the password" in error
    assert "horse" not in error + caplog.text + repr(wrong)
    acceptor.close()
    await acceptor.wait_closed()
