"""`authorized_keys`, read as OpenSSH reads it: line by line, and no line harms another."""

from __future__ import annotations

import logging
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prx_tunnel_ssh.relay.authorized import BadLine, Entry, parse
from prx_tunnel_ssh.relay.keys import AuthorizedKeys, read_host_key
from prx_tunnel_ssh.relay.log import Log

from prx_tunnel_core.errors import SetupError

KEY = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
OTHER = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
LINE = KEY.export_public_key().decode().strip()
OTHER_LINE = OTHER.export_public_key().decode().strip()
HERE = "192.0.2.7"


def admitted(tmp_path: Path, text: str | bytes, key: asyncssh.SSHKey = KEY) -> bool:
    path = tmp_path / "authorized_keys"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return AuthorizedKeys(path, Log())(key, HERE)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", True),
        ('permitopen="none" ', True),
        ('permitopen="localhost:80",permitopen="*:*" ', True),
        ("port-forwarding,no-port-forwarding ", False),
        ("no-port-forwarding,port-forwarding ", True),
        ("restrict,port-forwarding ", True),
        ("port-forwarding,restrict ", False),
        ("RESTRICT,Port-Forwarding ", True),
        ('command="echo \\"a, b\\" # c",no-pty ', True),
        ('environment="A=B",no-X11-forwarding\t', True),
        ('from="192.0.2.0/24" ', True),
        ('from="192.0.2.*,!192.0.2.7" ', False),
        ('from="192.0.2.0/24",from="10.0.0.0/8" ', False),
    ],
)
def test_s12_options_hold_in_order(tmp_path: Path, options: str, expected: bool) -> None:
    assert admitted(tmp_path, f"{options}{LINE}\n") is expected


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('permitlisten="8080" KEY', "does not know the option permitlisten"),
        ('expiry-time="20200101" KEY', "does not know the option expiry-time"),
        ("cert-authority KEY", "does not know the option cert-authority"),
        ('from="10.0.0.0/33" KEY', "10.0.0.0/33"),
        ("from KEY", "needs a value"),
        ("command KEY", "needs a value"),
        ('restrict="yes" KEY', "does not know the option restrict"),
        ('command="a KEY', "a quote is not closed"),
        (",restrict KEY", "no option"),
        ("restrict;port-forwarding KEY", "a comma or a space"),
        ("ssh-ed25519 AAAA", "no public key"),
        ("ssh-rsa " + "A" * 20_000, "longer than"),
        ("hello", "no public key"),
    ],
)
def test_s12_a_bad_line_is_skipped_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: str, reason: str
) -> None:
    caplog.set_level(logging.INFO, "prx_tunnel_ssh.relay")
    text = f"# who may come in\n{OTHER_LINE}\n{bad.replace('KEY', LINE)}\n"
    assert admitted(tmp_path, text, OTHER)
    assert not admitted(tmp_path, text, KEY)
    assert admitted(tmp_path, text + LINE, KEY)  # and a later line of the same key holds
    (line,) = {record.getMessage() for record in caplog.records}
    assert "authorized keys line skipped" in line
    assert "line=3" in line
    assert reason in line


def test_s12_the_first_line_of_a_key_decides(tmp_path: Path) -> None:
    assert not admitted(tmp_path, f"no-port-forwarding {LINE}\n{LINE}\n")
    assert admitted(tmp_path, f'from="10.0.0.1",no-port-forwarding {LINE}\n{LINE}\n')


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfKEY",
        b"OTHER\r\nKEY\r\n",
        b"\n  \tKEY a comment\n",
        b"\xff\nKEY",
        b"\0\nKEY",
        b"OTHER\nKEY",
    ],
)
def test_s12_files_as_editors_leave_them(tmp_path: Path, text: bytes) -> None:
    text = text.replace(b"KEY", LINE.encode()).replace(b"OTHER", OTHER_LINE.encode())
    assert admitted(tmp_path, text)


def test_s12_a_file_without_a_usable_key_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "prx_tunnel_ssh.relay")
    assert not admitted(tmp_path, "# nobody yet\n")
    assert "without a usable key" in caplog.records[-1].getMessage()


@given(st.binary(max_size=300))
def test_s12_whatever_stands_in_a_file_is_read_line_by_line(data: bytes) -> None:
    around = LINE.encode() + b"\n" + data + b"\n" + OTHER_LINE.encode() + b"\n"
    keys = [line.key for line in parse(around) if isinstance(line, Entry)]
    assert keys[0] == KEY
    assert keys[-1] == OTHER


@given(st.text(st.sampled_from('abc-,="\\ \t#'), max_size=40))
def test_s12_what_is_no_option_that_is_known_refuses_the_line(options: str) -> None:
    (*found,) = parse(f"{options} {LINE}".encode())
    if options.strip().startswith("#"):
        assert not found
    else:
        assert isinstance(found[0], BadLine if options.strip() else Entry)


DSS = asyncssh.generate_private_key("ssh-dss")
SHORT = asyncssh.generate_private_key("ssh-rsa", key_size=1024)


@pytest.mark.parametrize(
    ("key", "reason"),
    [(DSS, "ssh-dss keys"), (SHORT, "1024 bits")],
    ids=["dss", "rsa"],
)
def test_s13_weak_keys_are_refused_in_every_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: asyncssh.SSHKey, reason: str
) -> None:
    caplog.set_level(logging.INFO, "prx_tunnel_ssh.relay")
    public = key.convert_to_public()
    assert not admitted(tmp_path, public.export_public_key() + LINE.encode(), public)
    assert reason in caplog.records[0].getMessage()
    path = tmp_path / "host_key"
    path.write_bytes(key.export_private_key())
    path.chmod(0o600)
    with pytest.raises(SetupError, match=reason):
        read_host_key(path, Log())


@pytest.mark.parametrize(("surplus", "expected"), [(0, True), (1, False)])
def test_a_file_of_keys_may_have_four_mebibytes(
    tmp_path: Path, surplus: int, expected: bool
) -> None:
    text = f"{LINE}\n".ljust(4 * 1024 * 1024 + surplus)
    if expected:
        assert admitted(tmp_path, text)
    else:
        with pytest.raises(SetupError, match="is larger than 4194304 bytes"):
            admitted(tmp_path, text)
