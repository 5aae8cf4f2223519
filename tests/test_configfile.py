"""Where the configuration comes from, when it is not trusted, and what it says when it is wrong."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from prx_tunnel_core import trust
from prx_tunnel_core._configfile import LARGEST_FILE, find, load
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import Expanded
from support import acl

CANARY = "canary-5e5f0a"

ORIGINAL = """
[gateway]
port = 3000

[tunnel]
backend = "custom"
local_port = 3000
auto_start = true
health_check_interval = 30

[tunnel.reconnect]
enabled = true
max_attempts = 10
backoff_base_ms = 1000
backoff_max_ms = 60000

[tunnel.cloudflare]
token = "${CLOUDFLARE_TUNNEL_TOKEN}"
hostname = "agent.example.com"

[tunnel.ngrok]
authtoken = "${NGROK_AUTHTOKEN}"

[tunnel.custom]
command = "bore local 3000 --to bore.pub"
url_pattern = "bore.pub"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def write(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(0o600)
    return file


def reason(file: Path, content: str | bytes, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(file, content), environ=options.pop("environ", {}), **options)
    assert str(caught.value).startswith(f"{file}: ")
    return str(caught.value).removeprefix(f"{file}: ")


# --- what it says ------------------------------------------------------------------------------


def test_the_documented_file_is_read_without_the_tokens_of_other_backends(file: Path) -> None:
    config = load(write(file, ORIGINAL), environ={})
    assert config.tunnel.backend == "custom"
    assert config.tunnel.table("custom")["url_pattern"] == "bore.pub"
    assert config.tunnel.reconnect.max_attempts == 10
    assert config.gateway.port == 3000
    assert (config.path, config.exposes, config.warnings) == (file, True, ())


@pytest.mark.parametrize("content", ["", "\n# nothing\n", "[gateway]\n", "[agent]\nname = 1\n"])
def test_a_file_that_does_not_speak_of_a_tunnel_exposes_nothing(file: Path, content: str) -> None:
    config = load(write(file, content), environ={})
    assert not config.exposes
    assert config.tunnel.backend == "cloudflare"


def test_variables_are_expanded_in_the_tunnel_and_the_selected_backend_only(file: Path) -> None:
    content = """
    [tunnel]
    backend = "${BACKEND}"
    local_port = "${PORT}"
    reconnect.max_attempts = "${ATTEMPTS:-3}"
    [tunnel.custom]
    env = { TOKEN = "${TOKEN}" }
    [tunnel.ngrok]
    authtoken = "${NOT_SET}"
    [notify]
    url = "${NOT_SET}"
    """
    environ = {"BACKEND": "custom", "PORT": "8080", "TOKEN": CANARY}
    config = load(write(file, content), environ=environ, own_tables=["notify"])
    assert config.tunnel.local_port == 8080
    assert config.tunnel.reconnect.max_attempts == 3
    assert config.tunnel.table("custom") == {"env": {"TOKEN": CANARY}}
    assert isinstance(config.tunnel.table("custom")["env"]["TOKEN"], Expanded)
    assert config.tunnel.table("ngrok") == {"authtoken": "${NOT_SET}"}
    assert config.tables == {"notify": {"url": "${NOT_SET}"}}
    assert CANARY not in repr(config)


def test_a_variable_cannot_bring_a_table_or_a_key(file: Path) -> None:
    injection = 'x"\n[tunnel.custom]\ncommand = "sh -c id'
    content = '[tunnel]\nbackend = "custom"\n[tunnel.custom]\nurl_pattern = "${HOSTILE}"\n'
    with pytest.raises(ConfigError, match="HOSTILE has control characters"):
        load(write(file, content), environ={"HOSTILE": injection})
    flat = injection.replace("\n", " ")
    config = load(write(file, content), environ={"HOSTILE": flat})
    assert config.tunnel.table("custom") == {"url_pattern": flat}


@pytest.mark.parametrize("state", ["not set", "empty"])
def test_a_missing_variable_is_named_with_file_key_and_fix(file: Path, state: str) -> None:
    content = f'[tunnel]\nbackend = "ngrok"\n[tunnel.ngrok]\nx = "{CANARY}"\ntoken = "${{TOKEN}}"'
    environ = {"TOKEN": ""} if state == "empty" else {}
    said = reason(file, content, environ=environ)
    assert said == (
        f"tunnel.ngrok.token: the environment variable TOKEN is {state}; "
        "set it, or give a default: ${TOKEN:-…}"
    )


def test_the_gateways_port_is_the_tunnels_unless_it_has_its_own(file: Path) -> None:
    shared = load(write(file, "[gateway]\nport = 8080\n[tunnel]\n"), environ={})
    assert (shared.tunnel.local_port, shared.warnings) == (8080, ())
    apart = load(write(file, "[gateway]\nport = 8080\n[tunnel]\nlocal_port = 9090\n"), environ={})
    assert apart.tunnel.local_port == 9090
    assert len(apart.warnings) == 1
    assert "9090 but gateway.port is 8080" in apart.warnings[0]


def test_other_keys_of_the_gateway_are_the_agents_business(file: Path) -> None:
    content = '[gateway]\nport = "${PORT}"\nsecret = "${NOT_SET}"\nhost = ["a"]\n'
    assert load(write(file, content), environ={"PORT": "8080"}).tunnel.local_port == 8080


def test_the_command_line_wins_over_the_file(file: Path) -> None:
    content = '[gateway]\nport = 8080\n[tunnel]\nbackend = "ngrok"\nlocal_port = 8080\n'
    config = load(
        write(file, content), overrides={"backend": "custom", "local_port": 9090}, environ={}
    )
    assert (config.tunnel.backend, config.tunnel.local_port) == ("custom", 9090)


def test_the_file_wins_over_a_variable_that_it_does_not_name(file: Path) -> None:
    environ = {"LOCAL_PORT": "1", "TUNNEL_LOCAL_PORT": "1", "PORT": "1"}
    assert (
        load(write(file, "[tunnel]\nlocal_port = 8080\n"), environ=environ).tunnel.local_port
        == 8080
    )


def test_what_was_read_does_not_change_with_the_file(file: Path) -> None:
    config = load(write(file, "[tunnel]\nlocal_port = 8080\n"), environ={})
    file.unlink()
    assert config.tunnel.local_port == 8080


WRONG = {
    "a key twice": ("[tunnel]\nlocal_port = 1\nlocal_port = 2\n", "(at line 3"),
    "a table twice": ("[tunnel]\n[tunnel]\n", "(at line 2"),
    "a key and a table": ("[tunnel]\nreconnect = 1\n[tunnel.reconnect]\n", "(at line 3"),
    "no TOML at all": ("{}", "(at line 1"),
    "a NUL": ("[tunnel]\nbackend = 'a\x00'\n", "(at line 2"),
    "a homoglyph for a bare key": ("[tunnel]\nlocal_p\u043ert = 1\n", "(at line 2"),
    "a byte order mark": ("\ufeff[tunnel]\n", "byte order mark"),
    "UTF-16": ("[tunnel]\n".encode("utf-16"), "not UTF-8 (byte 0)"),
    "UTF-16 without a mark": ("[tunnel]\n".encode("utf-16-le"), "(at line 1"),
    "Latin-1": (b"# \xe4\n[tunnel]\n", "not UTF-8 (byte 2)"),
    "500 nested arrays": ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    "10 000 dotted keys": (
        '[tunnel]\nbackend = "a"\n' + "a." * 10_000 + "a = 1",
        "nested too deeply",
    ),
    "a number of 5000 digits": ("[tunnel]\nlocal_port = " + "9" * 5000, "digits"),
    "more than 1 MiB": ("#" * (LARGEST_FILE + 1), "larger than 1024 KiB"),
    "a string for the tunnel": ('tunnel = "x"', "tunnel is not a table; write [tunnel]"),
    "an array of tunnels": ("[[tunnel]]\n", "tunnel is not a table"),
    "a number for the gateway": ("gateway = 3000", "gateway is not a table"),
    "true for a port": ("[tunnel]\nlocal_port = true", "tunnel.local_port: "),
    "a float for a port": ("[tunnel]\nlocal_port = 3000.0", "tunnel.local_port: "),
    "a string for a port": ('[tunnel]\nlocal_port = "3000"', "tunnel.local_port: "),
    "a date for a name": ("[tunnel]\nbackend = 1979-05-27", "tunnel.backend: "),
    "nan for a time": ("[tunnel]\nhealth_check_interval = nan", "tunnel.health_check_interval: "),
    "an infinite time": ("[tunnel]\nconnect_timeout = inf", "tunnel.connect_timeout: "),
    "a backend that is a path": ('[tunnel]\nbackend = "../x"', "tunnel.backend: "),
    "a backend that is a list": ('[tunnel]\nbackend = ["x"]', "tunnel.backend: "),
    "a homoglyph": ('[tunnel]\n"local_p\u043ert" = 1', "did you mean 'local_port'?"),
    "a typing error": ("[tunnel]\nlocal_prt = 1", "did you mean 'local_port'?"),
    "another tool's name": ('[tunnel]\nprovider = "ngrok"', "did you mean 'backend'?"),
    "a reversed host": ('[tunnel]\nlocal_host = "\u202e1.0.0.721"', "tunnel.local_host: "),
    "a foreign host": ('[tunnel]\nlocal_host = "10.0.0.1"', "tunnel.local_host: "),
    "a malformed reference": ('[tunnel]\nbackend = "${ A }"', "tunnel.backend: a reference"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_one_error_that_says_where(
    file: Path, content: str | bytes, said: str
) -> None:
    assert said in reason(file, content)


def test_the_largest_file_that_is_read_is_read_fast(file: Path) -> None:
    content = "[tunnel]\nlocal_port = 8080\n"
    content += "#" * (LARGEST_FILE - len(content))
    began = time.perf_counter()
    assert load(write(file, content), environ={}).tunnel.local_port == 8080
    assert time.perf_counter() - began < 5


DEEP = {
    "dotted": "a" + ".a" * 40_000 + " = 1",
    "dotted after other lines": "# a.b\nx = 1\na" + " . a" * 20_000 + " = 1",
    "quoted": '"a.b"' + '."a.b"' * 20_000 + " = 1",
    "quoted, with escapes": '"\\""' + '."\\""' * 20_000 + " = 1",
    "literal": "'a'" + ".'a'" * 20_000 + " = 1",
    "mixed": "a" + ".'b'.\"c\".d" * 8_000 + " = 1",
    "a header": "[a" + ".a" * 40_000 + "]",
    "an array's header": "[[a" + ".a" * 40_000 + "]]",
    "in an inline table": "x = [{ a" + ".a" * 40_000 + " = 1 }]",
    "after a string of several lines": 'x = ["""a""""", {a' + ".a" * 40_000 + "=1}]",
}


@pytest.mark.parametrize("content", DEEP.values(), ids=DEEP)
def test_s16_a_key_of_many_parts_is_refused_before_it_is_parsed(
    file: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tomllib.loads", None)
    line = content.count("\n") + 1
    assert f"nested too deeply: the key in line {line} has more than 32" in reason(file, content)


HARMLESS = {
    "a string": f'"{"a." * 100}"',
    "a literal string": f"'{'a.' * 100}'",
    "several lines": f'"""\n{"a." * 100}a = 1\n"" {"a." * 100}\n"""',
    "several literal lines": f"'''\n{'a.' * 100}a = 1\n'''",
    "a comment": f"1  # {'a.' * 100}",
    "an array": f"[{'1.5, ' * 100}]",
}


@pytest.mark.parametrize("value", HARMLESS.values(), ids=HARMLESS)
def test_s16_what_looks_like_such_a_key_is_read(file: Path, value: str) -> None:
    written = write(file, f"[y]\nx = {value}\n")
    assert "x" in load(written, environ={}, own_tables=["y"]).tables["y"]


def test_s16_an_error_is_bounded_whatever_the_file_has(file: Path) -> None:
    many = "".join(f"k{number} = 1\n" for number in range(20_000))
    said = reason(file, f"[tunnel.reconnect]\n{many}")
    assert said.count("\n") == 20
    assert said.endswith("tunnel: and 19980 more")
    long = "k" * 100_000
    assert len(reason(file, f"[tunnel]\n{long} = 1\n")) < 1000
    listed = f'[tunnel.reconnect]\n{long} = [{"1," * 100_000} "${{X}}"]\n'
    assert len(reason(file, listed)) < 1000


@pytest.mark.parametrize("key", ["command", "port"])
def test_s16_a_value_of_many_kilobytes_is_refused(file: Path, key: str) -> None:
    for value in ("a" * 33_000, "${A}" * 400, "${NONE:-" + "b" * 33_000 + "}"):
        said = reason(file, f'[gateway]\n{key} = "{value}"\n', environ={"A": "x" * 100})
        assert said == f"gateway.{key}: longer than 32 KiB; shorten the value"


def test_no_value_of_the_file_is_in_an_error(file: Path) -> None:
    content = f'[tunnel]\nlocal_port = "{CANARY}"\nreconnect = "{CANARY}"\nbackend = "{CANARY}!"\n'
    assert CANARY not in reason(file, content)


# --- whether it is trusted ---------------------------------------------------------------------

ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="needs to give a file to another user")


@pytest.mark.parametrize("mode", [0o602, 0o666, 0o622 | 0o002, 0o777])
def test_a_file_that_anyone_may_write_is_refused(file: Path, mode: int) -> None:
    write(file, "[tunnel]\n").chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod go-w {file}"):
        load(file, environ={})


@as_root
def test_a_file_that_a_foreign_group_may_write_is_refused(file: Path) -> None:
    write(file, "[tunnel]\n").chmod(0o660)
    assert load(file, environ={}).exposes  # the group is one's own
    os.chown(file, 0, 12345)
    with pytest.raises(ConfigError, match=r"can be changed by group 12345 \(mode 660\)"):
        load(file, environ={})


@as_root
def test_a_file_of_another_user_is_refused_also_behind_a_link(file: Path, tmp_path: Path) -> None:
    os.chown(write(file, "[tunnel]\n"), 12345, 0)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    for path in (file, link):
        with pytest.raises(ConfigError, match="it belongs to user 12345, who could change it"):
            load(path, environ={})


@as_root
@pytest.mark.parametrize("how", ["acl", "folder", "its acl", "far above", "link"])
def test_s05_a_file_that_others_could_change_or_replace(tmp_path: Path, how: str) -> None:
    file, others = tmp_path / "a" / "b" / "config.toml", (acl.USER, 12345, 7)
    file.parent.mkdir(parents=True)
    path = tmp_path / "a" / "link.toml" if how == "link" else file
    write(file, "[tunnel]\n")
    if how == "link":
        path.symlink_to(file)
        path.parent.chmod(0o1777)
        os.chown(path, 12345, -1, follow_symlinks=False)
    elif how.endswith("acl"):
        acl.give(file if how == "acl" else file.parent, others)
    else:
        (file.parent if how == "folder" else tmp_path).chmod(0o777)
    with pytest.raises(ConfigError, match=f"^{path}: not trusted: .* can be (changed|replaced)"):
        load(path, environ={})


def test_a_link_to_ones_own_file_is_followed(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(write(file, "[tunnel]\nlocal_port = 8080\n"))
    assert load(link, environ={}).tunnel.local_port == 8080


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    began = time.perf_counter()
    with pytest.raises(ConfigError, match="not a regular file"):
        load(fifo, environ={})
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/dev/null", "not a regular file"), ("/dev/zero", "not a regular file"),
        ("/", "directory"), ("missing", "No such file"), ("a\x00b", "cannot be a path"),
        ("x" * 300, "too long"), ("config.toml/x", "No such file"),
    ],
)  # fmt: skip
def test_what_is_no_file_is_a_config_error(
    path: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        load(path, environ={})


@pytest.mark.parametrize(("mode", "readable"), [(0o600, False), (0o640, True), (0o604, True)])
def test_who_else_may_read_it_is_known(file: Path, mode: int, readable: bool) -> None:
    write(file, "").chmod(mode)
    assert trust.readable_by_others(str(file)) is readable


# --- where it is -------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path / "xdg" / "prx" / "config.toml"


def test_the_option_wins_over_the_variable_and_that_over_the_directory(home: Path) -> None:
    home.parent.mkdir(parents=True)
    home.touch()
    environ = {"PRX_CONFIG": "/etc/variable.toml"}
    assert find("/etc/option.toml", environ=environ) == Path("/etc/option.toml")
    assert find(environ=environ) == Path("/etc/variable.toml")
    assert find(environ={"PRX_CONFIG": ""}) == home
    assert find(environ={}) == home


def test_the_variable_that_load_is_given_counts(file: Path, home: Path) -> None:
    write(file, "[tunnel]\nlocal_port = 8080\n")
    assert load(environ={"PRX_CONFIG": str(file)}).tunnel.local_port == 8080
    assert load(environ={}).path is None


def test_the_working_directory_is_never_looked_at(
    home: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(file, "[tunnel]\nlocal_port = 8080\n").parent)
    assert find(environ={}) is None
    config = load(environ={})
    assert (config.path, config.exposes) == (None, False)


def test_a_named_file_that_is_missing_is_an_error_not_the_defaults(home: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(environ={"PRX_CONFIG": str(home)})


def test_a_dangling_link_in_the_directory_is_an_error_not_the_defaults(home: Path) -> None:
    home.parent.mkdir(parents=True)
    home.symlink_to(home.parent / "missing.toml")
    with pytest.raises(ConfigError, match="No such file"):
        load(environ={})


def test_errors_without_a_file_name_no_file(home: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides={"local_port": 0}, environ={})
    assert str(caught.value).startswith("tunnel.local_port: ")


# --- names that nothing reads ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[tunel]\nlocal_port = 8000\n", "unknown table [tunel]; did you mean [tunnel]?"),
        ("[Tunnel]\n", "unknown table [Tunnel]; did you mean [tunnel]?"),
        ("[tunnels.web]\n", "unknown table [tunnels]; did you mean [tunnel]?"),
        ("[gatway]\nport = 1\n", "unknown table [gatway]; did you mean [gateway]?"),
        ("[ngrok]\n", "unknown table [ngrok]; a backend's is written [tunnel.ngrok]"),
        ("[cloudflared]\n", "unknown table [cloudflared]; did you mean [tunnel.cloudflare]?"),
        ("[webhook.github]\n", "unknown table [webhook]; did you mean [webhooks]?"),
        ("backend = 'ssh'\n", "backend stands outside of any table; write it below [tunnel]"),
        ("[[tunel]]\nx = 1\n", "tunel is not a table; write [tunnel]"),
        ("portt = 1\n", "unknown key 'portt' outside of any table"),
        ("bakend = 'ssh'\n", "unknown key 'bakend' outside of any table; did you mean backend"),
        ("[reconnect]\n", "unknown table [reconnect]; it is written [tunnel.reconnect]"),
        ("[tunnel.webhooks.x]\n", "unknown table [tunnel.webhooks]; it is written [webhooks]"),
        ("[zzz]\n", "unknown table [zzz]: no installed plugin reads it. Settings of your agent"),
        ("[tunnel]\n[tunnel.web]\n", "unknown table [tunnel.web]: no backend 'web' is installed"),
        (
            "[tunnel]\n[tunnel.cloudflar]\n",
            "unknown table [tunnel.cloudflar]: no backend 'cloudflar' is installed; did you mean",
        ),
        ("['tu\\u001b[31mnnel']\n", "unknown table [tu"),
    ],
)  # fmt: skip
def test_n11_a_name_that_nothing_reads_is_an_error(file: Path, content: str, said: str) -> None:
    message = reason(file, content)
    assert message.startswith(said)
    assert "\x1b" not in message


@pytest.mark.parametrize("written", ["Cloudflare", "CLOUDFLARED", " cloudflare"])
def test_n12_a_backend_in_another_spelling(file: Path, written: str) -> None:
    said = f"tunnel.backend: there is no backend {written!r}; did you mean 'cloudflare'?"
    assert reason(file, f"[tunnel]\nbackend = '{written}'\n") == said
    assert reason(file, "", overrides={"backend": written}) == said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_another_encoding_is_named(file: Path, encoding: str) -> None:
    write(file, "").write_bytes("[tunnel]\n".encode(encoding))
    with pytest.raises(ConfigError, match="as UTF-8") as caught:
        load(file)
    assert "\n" not in str(caught.value)


def test_the_fix_for_a_file_that_may_not_be_read_helps(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    write(file, "[tunnel]\n")
    monkeypatch.setattr("prx_tunnel_core.trust.open_file", refused)
    with pytest.raises(ConfigError, match=r"chmod u\+r "):
        load(file)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(ConfigError, match="sudo chown"):
            load(file)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda self: refused(str(self)))
        with pytest.raises(ConfigError, match="cannot enter a folder"):
            load(file)


def test_n11_the_table_of_a_distribution_that_is_not_installed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_core._plugins.names.find_installed", list)
    assert reason(file, "[webhooks.github]\n").startswith(
        "the table [webhooks] needs the distribution prx-tunnel-webhooks; "
        "run: pip install prx-tunnel-webhooks"
    )


def test_n11_a_host_names_the_tables_that_it_keeps_in_the_file(file: Path) -> None:
    content = "[tunnel]\n[mybot]\ngreeting = '${NOT_SET}'\n[agent]\nmodel = 'x'\n[[jobs]]\nn = 1\n"
    config = load(write(file, content), own_tables=["mybot", "jobs"], environ={})
    assert config.tables == {
        "mybot": {"greeting": "${NOT_SET}"}, "agent": {"model": "x"}, "jobs": [{"n": 1}],
    }  # fmt: skip
    assert reason(file, content, own_tables=["jobs"]).startswith("unknown table [mybot]")


def test_n11_a_misspelt_key_of_the_shared_gateway_table_is_a_warning(file: Path) -> None:
    config = load(write(file, "[gateway]\nprot = 8080\nhost = 'x'\n"), environ={})
    assert config.warnings == ("gateway.prot is not a key of prx; did you mean gateway.port?",)
    both = load(write(file, "[gateway]\nports = [1]\nport = 8080\n"), environ={})
    assert both.warnings == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.toml", "No such file or directory; correct the path, or write the file with: "),
        ("", "Is a directory; name the file in it, such as "),
        ("config.toml/x", "Not a directory; check the path"),
    ],
)
def test_t05_a_file_that_cannot_be_read_gets_the_fix(file: Path, name: str, said: str) -> None:
    write(file, "")
    with pytest.raises(ConfigError) as caught:
        load(file.parent / name)
    assert str(caught.value).startswith(f"{file.parent / name}: {said}")
    assert "\n" not in str(caught.value)


def test_n11_an_empty_name_does_not_mean_the_default_file() -> None:
    with pytest.raises(ConfigError, match="the name of the configuration file is empty"):
        load("", environ={})
