"""Lists of names in core, each walked whole: an entry that is lost, or added unseen, is noticed.

A list is written here a second time, from what it is about: a standard, a provider's documentation,
ours. What an entry does is looked at, not that it stands there.
"""

from __future__ import annotations

import errno
import html
import ipaddress
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic import SecretStr

from prx_tunnel_core._cli.agent.process import FORWARDED
from prx_tunnel_core._cli.masking import masked_command
from prx_tunnel_core._health.network import explain
from prx_tunnel_core._plugins import PluginRegistry, names
from prx_tunnel_core.access import CLAIMS, FORWARDING, is_public_request, without_claims
from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import (
    SENSITIVE_PORTS,
    BackendConfig,
    ConfigModel,
    GatewayConfig,
    ReconnectConfig,
    TunnelConfig,
    validate,
)
from prx_tunnel_core.errors import ConfigError, ConnectError, PluginError, SetupError
from prx_tunnel_core.models import TunnelInfo, VisitorHeaders
from prx_tunnel_core.process import _spawn
from prx_tunnel_core.process._reaper import guard, tokens
from prx_tunnel_core.secrets import literal_secrets
from prx_tunnel_core.text import MASK, Redactor
from prx_tunnel_core.urls import is_public, normalise


def words(text: str) -> list[str]:
    return text.split()


# Headers in which proxies, content networks and their users write a visitor's address.
ADDRESSES = words("""
    Forwarded Forwarded-For X-Forwarded X-Forwarded-For X-Original-Forwarded-For Client-IP
    X-Client-IP X-Cluster-Client-IP True-Client-IP X-True-Client-IP Real-IP X-Real-IP Remote-Addr
    X-Remote-Addr Remote-IP X-Remote-IP X-Originating-IP Proxy-Client-IP WL-Proxy-Client-IP
    X-ProxyUser-IP CF-Connecting-IP CF-Connecting-IPv6 CF-Pseudo-IPv4 Fastly-Client-IP Fly-Client-IP
    X-AppEngine-User-IP X-Azure-ClientIP X-Azure-SocketIP CloudFront-Viewer-Address DO-Connecting-IP
    X-Envoy-External-Address X-NF-Client-Connection-IP X-Vercel-Forwarded-For X-Sucuri-ClientIP
    Incap-Client-IP
""")
# What they write besides.
MARKS = words("""
    Via X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port CF-Ray CF-Warp-Tag-Id CDN-Loop
    Tailscale-Funnel-Request Tailscale-User-Login
""")


def request(*headers: tuple[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "headers": [(n.encode(), v.encode()) for n, v in [("Host", "localhost"), *headers]],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 3000),
    }


def info() -> TunnelInfo:
    marks = VisitorHeaders(always=("x-the-backends-own",))
    return TunnelInfo("https://a.example.com", "b", 3000, datetime.now(UTC), visitor_headers=marks)


@pytest.mark.parametrize("name", [*ADDRESSES, *MARKS])
def test_a_request_that_a_proxy_passed_on_is_public(name: str) -> None:
    assert not is_public_request(request(), info())
    assert is_public_request(request((name, "x")), info())


@pytest.mark.parametrize("name", ADDRESSES)
def test_an_address_that_a_visitor_claims_is_removed(name: str) -> None:
    headers = [(b"host", b"localhost"), (name.lower().encode(), b"127.0.0.1")]
    assert without_claims(headers, None) == headers[:1]


def test_no_header_is_treated_so_that_is_not_walked_above() -> None:
    walked = {name.lower().encode() for name in ADDRESSES}
    assert walked == CLAIMS
    assert walked | {name.lower().encode() for name in MARKS} == FORWARDING


# https://www.w3.org/TR/fetch-metadata: `none` is an address that the user typed.
@pytest.mark.parametrize(
    ("site", "public"),
    [("same-origin", False), ("same-site", False), ("none", False), ("cross-site", True)],
)
def test_a_page_of_this_machine_by_what_the_browser_says(site: str, public: bool) -> None:
    assert is_public_request(request(("Sec-Fetch-Site", site)), info()) is public


# As `man 7 environ`, the XDG base directories, gettext, OpenSSL and curl name them.
GIVEN_TO_PROGRAMS = words("""
    PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR
    XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME XDG_STATE_HOME XDG_RUNTIME_DIR
    SSL_CERT_FILE SSL_CERT_DIR
    HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy
    LC_ALL LC_CTYPE LC_MESSAGES LC_TIME
""")
KEPT_FROM_PROGRAMS = words("""
    NGROK_AUTHTOKEN TUNNEL_TOKEN AWS_SECRET_ACCESS_KEY PYTHONPATH LD_PRELOAD LD_LIBRARY_PATH
    PRX_CONFIG SSH_AUTH_SOCK BASH_ENV LCX
""")


def test_k02_all_that_a_program_needs_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name in [*GIVEN_TO_PROGRAMS, *KEPT_FROM_PROGRAMS]:
        monkeypatch.setenv(name, f"the {name}")
    given, secrets = _spawn.child_environment({"MINE": "1"}, "a token;")
    added = {"MINE": "1", tokens.TOKEN_VARIABLE: "a token;"}
    assert given == {name: f"the {name}" for name in GIVEN_TO_PROGRAMS} | added
    assert secrets == []


def test_the_guard_is_given_what_the_interpreter_needs_to_be_loaded() -> None:
    assert set(guard.INHERITED) == {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}


@pytest.mark.parametrize("name", ["ETXTBSY", "EAGAIN", "ENOMEM", "EMFILE", "ENFILE"])
def test_a_start_that_fails_for_want_of_something_is_tried_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(failure_of_a_start(name, monkeypatch), ConnectError)


@pytest.mark.parametrize("name", ["ENOENT", "EACCES", "EPERM", "ENOEXEC", "E2BIG", "ELOOP", "EIO"])
def test_every_other_failure_is_for_somebody_to_fix(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(failure_of_a_start(name, monkeypatch), SetupError)


def failure_of_a_start(name: str, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    number = getattr(errno, name)

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/bin/true")

    monkeypatch.setattr("subprocess.Popen", fail)
    with pytest.raises((ConnectError, SetupError)) as caught:
        _spawn.spawn(["/bin/true"], env={}, cwd=None)
    return caught.value


# Of `man 7 ip`, `man 2 connect` and `man 2 socket`: what says nothing of the other side.
@pytest.mark.parametrize(
    "name",
    ["ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "EADDRNOTAVAIL", "EAFNOSUPPORT",
     "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EAGAIN"],
)  # fmt: skip
def test_a_failure_of_this_machine_does_not_count_against_the_tunnel(name: str) -> None:
    number = getattr(errno, name)
    verdict, reason = explain(OSError(number, "x"))
    assert (verdict, reason) == ("unknown", os.strerror(number))


@pytest.mark.parametrize("name", ["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EPIPE"])
def test_a_failure_of_the_other_side_does(name: str) -> None:
    assert explain(OSError(getattr(errno, name), "x"))[0] == "fail"


@pytest.mark.parametrize(
    ("name", "new", "verdict"),
    [
        ("EAI_NONAME", False, "fail"),
        ("EAI_NODATA", False, "fail"),
        ("EAI_ADDRFAMILY", False, "fail"),
        ("EAI_NONAME", True, "unknown"),
        ("EAI_AGAIN", False, "unknown"),
        ("EAI_FAIL", False, "unknown"),
        ("EAI_MEMORY", False, "unknown"),
        ("EAI_SYSTEM", False, "unknown"),
    ],
)
def test_only_a_name_that_does_not_exist_counts(name: str, new: bool, verdict: str) -> None:
    if not hasattr(socket, name):
        pytest.skip("this system's resolver has no such error")
    error = socket.gaierror(getattr(socket, name), "x")
    assert explain(error, name_is_new=new)[0] == verdict


# Docker, etcd, MySQL, RDP, ngrok's inspector, PostgreSQL, VNC, Redis, Kubernetes, a proxy of it,
# Elasticsearch, Node's debugger, kubelet, memcached, Ollama, MongoDB.
RISKY = (
    2375, 2376, 2379, 2380, 3306, 3389, 4040, 5432, 5900, 6379, 6443, 8001, 9200, 9229, 10250,
    11211, 11434, 27017,
)  # fmt: skip


@pytest.mark.parametrize("port", RISKY)
def test_a_sensitive_port_has_to_be_confirmed(port: int) -> None:
    with pytest.raises(ConfigError, match="local_port"):
        validate(TunnelConfig, {"local_port": port}, path="tunnel")
    for beside in {port - 1, port + 1} - set(RISKY):
        validate(TunnelConfig, {"local_port": beside}, path="tunnel")
    assert set(RISKY) == SENSITIVE_PORTS


@pytest.mark.parametrize(
    ("model", "hints"),
    [
        (
            TunnelConfig,
            {
                "provider": "backend",
                "tunnel_provider": "backend",
                "local_addr": "local_port",
                "port": "local_port",
                "health_check_interval_secs": "health_check_interval",
                "health_url": "health_check_url",
                "startup_timeout_secs": "connect_timeout",
            },
        ),
        (BackendConfig, {"startup_timeout_secs": "connect_timeout"}),
        ("cloudflare", {"cloudflared_path": "program", "grace_period_secs": "grace_period"}),
        ("custom", {"start_command": "command"}),
        ("ngrok", {"auth_token": "authtoken", "ngrok_path": "program"}),
        (
            "tailscale",
            {"port": "funnel_port", "tailscale_path": "program", "tailscale_bin": "program"},
        ),
    ],
)
def test_a_key_of_another_tool_is_told_its_name_here(
    model: type[ConfigModel] | str, hints: dict[str, str]
) -> None:
    if isinstance(model, str):
        model = PluginRegistry(environ={}).backend(model).config
    assert {key for key, hint in model.key_hints.items() if hint in model.model_fields} == {*hints}
    for theirs, ours in hints.items():
        with pytest.raises(ConfigError) as caught:
            validate(model, {theirs: 1}, path="t")
        assert f"t: unknown key {theirs!r}; did you mean {ours!r}?" in str(caught.value)


@pytest.mark.parametrize("name", ["reconnect", "tunnel", "gateway", "core", "none", "auto"])
def test_a_backend_cannot_have_a_name_that_means_something_else(name: str) -> None:
    def connect(*_: object) -> NoReturn:
        raise NotImplementedError

    with pytest.raises(PluginError, match=f"'{name}'"):
        Backend(name=name, summary="x", config=BackendConfig, connect=connect)
    Backend(name=f"{name}s", summary="x", config=BackendConfig, connect=connect)


@pytest.mark.parametrize("table", ["gateway", "tunnel", "agent"])
def test_tables_that_need_no_plugin(table: str) -> None:
    names.check_tables({table: {}}, ())
    with pytest.raises(ConfigError):
        names.check_tables({f"{table}s": {}}, ())


@pytest.mark.parametrize("name", ["cloudflare", "tailscale", "ngrok", "ssh", "custom", "webhooks"])
def test_each_plugin_of_this_project_says_how_it_is_installed(name: str) -> None:
    assert names.how_to_install(name) == f"pip install prx-tunnel-{name}"
    assert (Path(__file__).parents[1] / "plugins" / name / "pyproject.toml").exists()


def test_every_signal_for_a_program_in_the_foreground_is_passed_on() -> None:
    passed = {number.name for number in FORWARDED}
    assert passed == {"SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"}


SENSITIVE_OPTIONS = words("""
    --token --api-token --client-secret --passphrase --password --pwd --db-pw --auth --oauth
    --authorization --credentials --cred --api-key --keyfile --cookie --user --username --header
    --bearer --dsn --session --sid --sig --pin
""")


@pytest.mark.parametrize("option", SENSITIVE_OPTIONS)
def test_the_value_of_a_sensitive_option_is_masked(option: str) -> None:
    # A value that is shown after any other option.
    assert masked_command(["tool", "--verbose", "abc", option, "abc"]) == [
        "tool", "--verbose", "abc", option, MASK,
    ]  # fmt: skip
    assert masked_command(["tool", f"{option}=abc"]) == ["tool", f"{option}={MASK}"]


class Variables(ConfigModel):
    env: dict[str, SecretStr] = {}


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("API_TOKEN", True),
        ("tokens", True),
        ("CLIENT_SECRET", True),
        ("PASSWD", True),
        ("DB_PASSWORD", True),
        ("CREDENTIALS", True),
        ("API_KEY", True),
        ("KEYBOARD", False),
        ("LANG", False),
    ],
)
def test_a_variable_whose_name_tells_a_secret(name: str, is_secret: bool) -> None:
    table = {"env": {name: "literal"}}
    found = literal_secrets(validate(Variables, table, path="t"), table, path="t")
    assert found == ([f"t.env.{name}"] if is_secret else [])


@pytest.mark.parametrize(
    "key",
    ["token", "secret", "password", "passwd", "apikey", "key", "access_token", "api-key", "x_key"],
)
@pytest.mark.parametrize("sign", ["?", "&"])
def test_a_credential_in_a_query_is_masked(key: str, sign: str) -> None:
    shown = Redactor(())(f"https://a.example.com/{sign}{key}=abcdef&x=1")
    assert shown == f"https://a.example.com/{sign}{key}={MASK}&x=1"


# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-: the ends of each.
SPECIAL = words("""
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4
    240.0.0.0/4 ::/128 ::1/128 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20
    4000::/2 fc00::/7 fe80::/10 ff00::/8
""")
PUBLIC = words("""
    1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.167.255.255
    192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0
    223.255.255.255 2001:200:: 2001:db7:ffff::1 2001:db9:: 2003:: 3ffe::1 2000::1
""")


@pytest.mark.parametrize("network", SPECIAL)
def test_a_special_address_is_not_public(network: str) -> None:
    both = ipaddress.ip_network(network)
    assert not is_public(str(both[0]))
    assert not is_public(str(both[-1]))


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_beside_a_special_one_is(address: str) -> None:
    assert is_public(address)


def defaults_of(model: type[ConfigModel]) -> dict[str, Any]:
    fields = {key: each for key, each in model.model_fields.items() if not each.is_required()}
    return {key: each.get_default(call_default_factory=True) for key, each in fields.items()}


def test_what_holds_for_a_key_that_is_not_set() -> None:
    """As the README and `prx init` document it."""
    assert defaults_of(ReconnectConfig) == {
        "enabled": True,
        "max_attempts": 10,
        "backoff_base_ms": 1000,
        "backoff_max_ms": 60_000,
    }
    assert defaults_of(TunnelConfig) == {
        "backend": "cloudflare",
        "local_port": 3000,
        "local_host": "127.0.0.1",
        "auto_start": True,
        "health_check_interval": 30.0,
        "health_check_failures": 3,
        "health_check_url": True,
        "connect_timeout": 60.0,
        "allow_sensitive_port": False,
        "reconnect": ReconnectConfig(),
    }
    assert defaults_of(BackendConfig) == {"connect_timeout": None}
    assert defaults_of(GatewayConfig) == {"port": None, "command": None}


@pytest.mark.parametrize("sign", list("&<>'\""))
def test_a_secret_is_hidden_in_each_way_to_write_html(sign: str) -> None:
    secret = f"first{sign}second"
    go = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;"}
    json_of_go = {sign: f"\\u{ord(sign):04x}" for sign in "&<>"}
    spellings = {
        html.escape(secret),
        html.escape(secret, quote=False),
        f"first{go[sign]}second",
        f"first{json_of_go.get(sign, sign)}second",
    }
    for spelling in spellings:
        assert Redactor([secret])(f"is {spelling}!") == f"is {MASK}!"


@pytest.mark.parametrize(("url", "port"), [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)])
def test_the_port_that_a_scheme_has_by_itself_is_left_out(url: str, port: int) -> None:
    assert normalise(f"{url}://a.example.com:{port}/x") == f"{url}://a.example.com/x"
    assert f":{port + 1}" in normalise(f"{url}://a.example.com:{port + 1}/x")
