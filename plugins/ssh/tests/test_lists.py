"""Lists of this plugin, each walked whole; written here a second time, from OpenSSH's manuals."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import asyncssh
import pytest
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_public_key_algs
from prx_tunnel_ssh import prx_tunnel_backends
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.credentials import open_keys
from prx_tunnel_ssh.hostkeys import read_known_hosts
from prx_tunnel_ssh.relay.algorithms import accepts_signature, agreed_on, weakness
from prx_tunnel_ssh.relay.authorized import BadLine, Entry, parse
from prx_tunnel_ssh.relay.log import line
from prx_tunnel_ssh.relay.notice import Notice
from prx_tunnel_ssh.relay.settings import Limits, Site

from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import validate

KEY = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
LINE = KEY.export_public_key().decode().strip()

# sshd(8), AUTHORIZED_KEYS FILE FORMAT.
PLAIN = (
    "agent-forwarding no-agent-forwarding x11-forwarding no-x11-forwarding pty no-pty user-rc "
    "no-user-rc no-touch-required"
)
WITH_VALUE = "command environment permitopen"
UNKNOWN = "cert-authority principals tunnel verify-required permitlisten expiry-time"


def only(options: str) -> Entry | BadLine:
    (found,) = parse(f"{options} {LINE}\n".encode())
    return found


@pytest.mark.parametrize("option", PLAIN.split())
def test_an_option_for_what_the_relay_never_grants(option: str) -> None:
    entry = only(option)
    assert isinstance(entry, Entry)
    assert entry.forwarding
    assert isinstance(only(f'{option}="x"'), BadLine)


@pytest.mark.parametrize("option", WITH_VALUE.split())
def test_an_option_with_a_value(option: str) -> None:
    entry = only(f'{option}="x"')
    assert isinstance(entry, Entry)
    assert entry.forwarding
    assert isinstance(only(option), BadLine)


@pytest.mark.parametrize("option", UNKNOWN.split())
def test_an_option_that_would_be_ignored_is_refused(option: str) -> None:
    assert isinstance(only(option), BadLine)
    assert isinstance(only(f'{option}="x"'), BadLine)


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ("restrict", False),
        ("no-port-forwarding", False),
        ("port-forwarding", True),
        ("restrict,port-forwarding", True),
    ],
)
def test_options_about_forwarding(options: str, allowed: bool) -> None:
    entry = only(options)
    assert isinstance(entry, Entry)
    assert entry.forwarding is allowed


@pytest.mark.parametrize(
    ("value", "matched"),
    [
        ('a\\"b', 'a"b'),
        ('\\"', '"'),
        ('\\"\\"', '""'),
        ("a\\b", "a\\b"),
        ("x,a b", "a b"),
    ],
)
def test_a_quote_in_a_quoted_value_is_written_with_a_backslash(value: str, matched: str) -> None:
    entry = only(f'from="{value}"')
    assert isinstance(entry, Entry)
    (pattern,) = entry.sources
    assert pattern.matches(matched, "", None)
    assert not pattern.matches(f"{matched}x", "", None)


@pytest.mark.parametrize("options", ['from="a', 'from="a\\"', 'from="a"b', 'from="a"\\"'])
def test_a_quoted_value_ends_at_its_quote(options: str) -> None:
    assert isinstance(only(options), BadLine)


def test_a_line_of_authorized_keys_may_have_sixteen_kibibytes() -> None:
    room = 16 * 1024 - len(f'command="" {LINE}')
    assert isinstance(only(f'command="{"x" * room}"'), Entry)
    assert isinstance(only(f'command="{"x" * (room + 1)}"'), BadLine)


# ssh_config(5), HostKeyAlgorithms: without certificates, without hardware keys, without SHA-1.
def test_all_kinds_of_host_keys_are_offered_in_openssh_s_order(tmp_path: Path) -> None:
    config = SshConfig(host="a.example", known_hosts=str(tmp_path / "none"))
    assert read_known_hosts(config).algorithms == (
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-512",
        "rsa-sha2-256",
    )


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["id_ed25519", "id_ecdsa", "id_rsa"])
async def test_each_default_key_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    kind = {"id_ecdsa": "ecdsa-sha2-nistp256", "id_rsa": "ssh-rsa"}.get(name, "ssh-ed25519")
    key = asyncssh.generate_private_key(kind)
    key.write_private_key(str(tmp_path / ".ssh" / name))
    (tmp_path / ".ssh" / name).chmod(0o600)
    async with open_keys(SshConfig(host="a.example")) as keys:
        assert [each.public_data for each in keys] == [key.public_data]


# What a stranger sends becomes one value of one line, whatever it holds.
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("it's", '"it\'s"'),
        ("back\\slash", '"back\\\\slash"'),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200),
        (7, "7"),
    ],
)
def test_a_value_in_the_relays_log(value: object, shown: str) -> None:
    assert line("login", key=value, nothing=None, user="u") == f"login key={shown} user=u"


@pytest.mark.parametrize("text", ["a\nlogin user=root", "a\x1b[31mb", "a\rb", "a\x9bb", "a\u2028b"])
def test_a_value_cannot_end_its_line_or_move_the_cursor(text: str) -> None:
    shown = line("login", user=text)
    assert len(shown.splitlines()) == 1
    assert shown.isprintable()
    assert not shown.startswith("login user=a ") or '"' in shown


def test_what_holds_for_a_key_that_is_not_set() -> None:
    fields = {k: each for k, each in SshConfig.model_fields.items() if not each.is_required()}
    found = {key: each.get_default(call_default_factory=True) for key, each in fields.items()}
    assert found == {
        "connect_timeout": None,
        "host": None,
        "port": 22,
        "username": None,
        "identity_file": None,
        "password": None,
        "agent": None,
        "known_hosts": "~/.ssh/known_hosts",
        "remote_host": None,
        "remote_port": 0,
        "public_url": None,
        "url_pattern": None,
        "keepalive_interval": 15.0,
        "keepalive_count": 3,
    }


def test_the_servers_that_doctor_asks() -> None:
    (backend,) = prx_tunnel_backends()
    assert isinstance(backend, Backend)
    assert backend.servers is not None
    assert list(backend.servers(validate(SshConfig, {}, path="t"))) == []
    assert list(backend.servers(validate(SshConfig, {"host": "a.example"}, path="t"))) == [
        "a.example:22"
    ]


def test_what_the_relay_bears_by_default() -> None:
    """As `docs/backends/ssh.md` documents it."""
    assert asdict(Limits()) == {
        "connections": 512,
        "startups": 100,
        "startups_per_address": 8,
        "per_address": 16,
        "new_per_minute": 60,
        "per_key": 8,
        "tunnels_per_key": 4,
        "visitors": 256,
        "visitors_in_all": 1024,
        "visitors_per_address": 256,
        "wasted_per_minute": 60,
        "login_seconds": 20.0,
        "key_offers": 20,
        "head_seconds": 15.0,
        "idle_seconds": 60.0,
        "stall_seconds": 30.0,
        "response_seconds": 300.0,
        "channel_seconds": 10.0,
    }
    assert Site("a.example", "https://{name}.a.example").ports == {80, 443}


# The defaults of OpenSSH 10 (ssh_config(5)), in its order, without what is under finite fields,
# with SHA-1, of less than 128 bits (UMAC-64), or not in asyncssh (UMAC, certificates).
AGREED = {
    "kex_algs": (
        "mlkem768x25519-sha256 sntrup761x25519-sha512 sntrup761x25519-sha512@openssh.com "
        "curve25519-sha256 curve25519-sha256@libssh.org ecdh-sha2-nistp256 ecdh-sha2-nistp384 "
        "ecdh-sha2-nistp521"
    ),
    "encryption_algs": (
        "chacha20-poly1305@openssh.com aes256-gcm@openssh.com aes128-gcm@openssh.com aes256-ctr "
        "aes192-ctr aes128-ctr"
    ),
    "mac_algs": (
        "hmac-sha2-256-etm@openssh.com hmac-sha2-512-etm@openssh.com hmac-sha2-256 hmac-sha2-512"
    ),
    "signature_algs": (
        "ssh-ed25519 sk-ssh-ed25519@openssh.com ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 "
        "ecdsa-sha2-nistp521 sk-ecdsa-sha2-nistp256@openssh.com rsa-sha2-512 rsa-sha2-256"
    ),
    "compression_algs": "none",
}


def test_all_algorithms_that_the_relay_agrees_on() -> None:
    known = {
        name.decode()
        for names in (get_kex_algs(), get_encryption_algs(), get_mac_algs(), get_public_key_algs())
        for name in names
    }
    for kind, names in agreed_on().items():
        expected = [name for name in AGREED[kind].split() if name in known or name == "none"]
        assert names == expected, kind
    assert agreed_on().keys() == AGREED.keys()


@pytest.mark.parametrize("algorithm", AGREED["signature_algs"].split())
def test_each_signature_that_proves_a_key(algorithm: str) -> None:
    assert accepts_signature(algorithm.encode())
    assert not accepts_signature(f"{algorithm}x".encode())


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("ssh-ed25519", {}, None),
        ("ecdsa-sha2-nistp256", {}, None),
        ("ecdsa-sha2-nistp384", {}, None),
        ("ecdsa-sha2-nistp521", {}, None),
        ("ssh-rsa", {"key_size": 2048}, None),
        ("ssh-rsa", {"key_size": 2040}, "2040 bits is too short; it needs 2048 or more"),
        ("ssh-dss", {}, "ssh-dss keys are not accepted"),
    ],
)
def test_each_kind_of_a_key(kind: str, options: dict[str, Any], reason: str | None) -> None:
    said = weakness(asyncssh.generate_private_key(kind, **options))
    assert said is None if reason is None else reason in (said or "")


class Session:
    """Takes what is printed, `unread` bytes of which the guest has not read."""

    def __init__(self, unread: int = 0) -> None:
        self.unread = unread
        self.printed: list[bytes] = []

    def get_write_buffer_size(self) -> int:
        return self.unread

    def write(self, data: bytes) -> None:
        self.printed.append(data)


def test_at_most_sixty_four_urls_are_kept_for_a_session() -> None:
    notice, session = Notice(["first"]), Session()
    for number in range(70):
        notice.announce(str(number))
    notice.connection_made(cast("Any", session))
    notice.session_started()
    assert session.printed == [b"first\r\n", *(b"%d\r\n" % number for number in range(63))]
    notice.announce("at once")
    assert session.printed[-1] == b"at once\r\n"


@pytest.mark.parametrize(("unread", "printed"), [(16 * 1024 - 1, 1), (16 * 1024, 0)])
def test_a_guest_that_does_not_read_is_told_no_more(unread: int, printed: int) -> None:
    notice, session = Notice(["url"]), Session(unread)
    notice.connection_made(cast("Any", session))
    notice.session_started()
    assert len(session.printed) == printed
