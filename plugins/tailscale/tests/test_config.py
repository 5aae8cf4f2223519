from __future__ import annotations

from typing import Any

import pytest
from prx_tunnel_tailscale.capability import funnel_ports, missing
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.route import route_for
from tailscale_standin import HOST, PORTS

from prx_tunnel_core import ConfigError, Target
from prx_tunnel_core.config import validate


def read(**table: Any) -> TailscaleConfig:
    return validate(TailscaleConfig, table, path="tunnel.tailscale")


def test_nothing_has_to_be_set() -> None:
    config = read()
    assert (config.mode, config.funnel_port, config.path) == ("funnel", 443, "/")
    assert not config.background
    assert not config.server_on_loopback()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"funnel_port": 0}, "tunnel.tailscale.funnel_port: input should be greater"),
        ({"funnel_port": 70000}, "tunnel.tailscale.funnel_port: input should be less"),
        ({"funnel_port": "443"}, "tunnel.tailscale.funnel_port: input should be a valid integer"),
        ({"funnel_port": True}, "tunnel.tailscale.funnel_port: input should be a valid integer"),
        ({"mode": "public"}, "tunnel.tailscale.mode: input should be 'funnel' or 'serve'"),
        ({"background": "yes"}, "tunnel.tailscale.background: input should be a valid boolean"),
        ({"socket": "t.sock"}, "tunnel.tailscale.socket: give the absolute path"),
        ({"program": " "}, "tunnel.tailscale.program: name the program"),
        ({"funnel": True}, 'write mode = "funnel" or mode = "serve"'),
        ({"port": 443}, "did you mean 'funnel_port'"),
        ({"reset_on_stop": True}, "only our own route is removed"),
        ({"tailscale_bin": "/x"}, "did you mean 'program'"),
        ({"tailscale_path": "/x"}, "did you mean 'program'"),
        ({"funel_port": 443}, "did you mean 'funnel_port'"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**table)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        *("", "hook", "//", "//x", "/a//b", "/a/../b", "/.", "/..", "/a/.", "/a b", "/a?b"),
        *("/a#b", "/\u00e4", "/a\\b", "/a\n", "/%2e%2e", "https://evil.example", "/a:b"),
        *("/a;b", "/$(x)", "/--bg=\x00"),
    ],
)
def test_a_path_that_the_program_would_change_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"tunnel\.tailscale\.path: begin with '/'"):
        read(path=path)


@pytest.mark.parametrize(
    ("path", "mount"), [("/", "/"), ("/hook", "/hook"), ("/hook/", "/hook"), ("/a/b.c", "/a/b.c")]
)
def test_a_path_is_kept_as_the_node_keeps_it(path: str, mount: str) -> None:
    assert read(path=path).path == mount


@pytest.mark.parametrize(
    ("table", "url"),
    [
        ({}, f"https://{HOST}"),
        ({"funnel_port": 10000}, f"https://{HOST}:10000"),
        ({"funnel_port": 8443, "path": "/a/b"}, f"https://{HOST}:8443/a/b"),
    ],
)
def test_the_url_follows_from_the_settings(table: dict[str, Any], url: str) -> None:
    assert route_for(read(**table), Target("127.0.0.1", 3000), HOST).url == url


@pytest.mark.parametrize(
    ("listed", "allowed", "refused", "shown"),
    [
        ("443,8443,10000", [443, 8443, 10000], [80, 8444], "443, 8443, 10000"),
        ("443,8000-8010", [443, 8000, 8005, 8010], [7999, 8011], "443, 8000-8010"),
        ("443,,x,9-8,0-5,1-99999, 7", [443, 7], [8, 9, 3], "443, 7"),
        ("", [], [443], "none"),
    ],
)
def test_the_list_of_ports_is_the_tailnets(
    listed: str, allowed: list[int], refused: list[int], shown: str
) -> None:
    ports = funnel_ports([f"https://tailscale.com/cap/funnel-ports?ports={listed}"])
    assert all(port in ports for port in allowed)
    assert not any(port in ports for port in refused)
    assert str(ports) == shown


def test_other_capabilities_list_no_ports() -> None:
    evil = "https://tailscale.com/cap/funnel-ports-of-others?ports=443"
    assert str(funnel_ports(["funnel", "https", evil, "https://evil.example/?ports=443"])) == "none"


def test_funnel_needs_https_first() -> None:
    assert missing([], public=True) == missing(["funnel"], public=True) == "https"
    assert missing(["https"], public=True) == "funnel"
    assert missing(["https"], public=False) is None
    assert missing(["https", "funnel", PORTS], public=True) is None
