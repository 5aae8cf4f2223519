"""Lists of this plugin, each walked whole; written here a second time, from cloudflared's help."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cloudflare_kit.installed import StandIn
from prx_tunnel_cloudflare import prx_tunnel_backends
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.diagnose import diagnose

from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError

# Flags of `cloudflared tunnel` and `cloudflared tunnel run` that this backend sets, that say which
# tunnel is run, or with which the program does something else than to run a tunnel.
TAKEN = (
    "autoupdate-freq bastion config cred-contents cred-file credentials-contents credentials-file "
    "edge-ip-version force grace-period h hello-world help hostname is-autoupdated lb-pool "
    "loglevel max-edge-addr-retries metrics n name no-autoupdate output overwrite-dns p protocol "
    "proxy-dns socks5 token token-file unix-socket url v version"
)
FREE = (
    "post-quantum ha-connections label no-tls-verify edge-bind-address region retries tag "
    "origin-server-name dial-edge-timeout features no-chunked-encoding http-host-header logfile"
)


@pytest.mark.parametrize("flag", TAKEN.split())
@pytest.mark.parametrize("value", ["", "=x"])
def test_an_argument_that_is_set_already_is_refused(flag: str, value: str) -> None:
    table = {"extra_args": ["--label=x", f"--{flag}{value}"]}
    with pytest.raises(ConfigError, match=f"--{flag} is set by this backend"):
        validate(CloudflareConfig, table, path="tunnel.cloudflare")


def test_any_other_is_passed_on() -> None:
    arguments = [f"--{flag}=x" for flag in FREE.split()]
    config = validate(CloudflareConfig, {"extra_args": arguments}, path="tunnel.cloudflare")
    assert config.extra_args == arguments


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("2021.12.31", "fail"),
        ("2022.9.1", "fail"),
        ("2022.11.9", "fail"),
        ("2022.12.0", "ok"),
        ("2022.12.1", "ok"),
        ("2023.1.0", "ok"),
    ],
)
async def test_the_oldest_version_that_can_be_used_is_2022_12(
    stand_in: StandIn, configure: Callable[..., CloudflareConfig], version: str, verdict: str
) -> None:
    stand_in.plan({"version": f"cloudflared version {version} (built 2022-12-01-1530 UTC)"})
    (check,) = [each for each in await diagnose(configure()) if each.name == "cloudflared"]
    assert check.verdict == verdict


@pytest.mark.parametrize(
    ("theirs", "ours"), [("cloudflared_path", "program"), ("grace_period_secs", "grace_period")]
)
def test_a_key_of_another_tool_is_told_its_name_here(theirs: str, ours: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(CloudflareConfig, {theirs: "x"}, path="t")
    assert str(caught.value) == f"t: unknown key {theirs!r}; did you mean {ours!r}?"


def test_what_holds_for_a_key_that_is_not_set() -> None:
    fields = {
        k: each for k, each in CloudflareConfig.model_fields.items() if not each.is_required()
    }
    found = {key: each.get_default(call_default_factory=True) for key, each in fields.items()}
    assert found == {
        "connect_timeout": 90.0,
        "token": None,
        "token_file": None,
        "credentials_file": None,
        "tunnel_id": None,
        "hostname": None,
        "protocol": "auto",
        "edge_ip_version": "auto",
        "grace_period": 30.0,
        "metrics_port": None,
        "program": "cloudflared",
        "extra_args": [],
        "access": None,
    }


def test_the_servers_that_doctor_asks() -> None:
    (backend,) = prx_tunnel_backends()
    assert isinstance(backend, Backend)
    assert backend.servers is not None
    assert list(backend.servers(validate(CloudflareConfig, {}, path="t"))) == [
        "api.trycloudflare.com:443",
        "region1.v2.argotunnel.com:7844",
    ]
    assert list(backend.servers(validate(CloudflareConfig, {"token_file": "/x"}, path="t"))) == [
        "region1.v2.argotunnel.com:7844"
    ]
