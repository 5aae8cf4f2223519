"""What is said of a backend that is not there."""

from __future__ import annotations

import pytest

from prx_tunnel_core._plugins.names import check_backend_tables, missing_backend
from prx_tunnel_core.errors import ConfigError


@pytest.mark.parametrize("mistyped", ["cloudflared", "cloudfare", "Cloudflare", "cloud-flare"])
def test_n12_the_name_that_was_meant_comes_first(mistyped: str) -> None:
    assert missing_backend(mistyped, ["cloudflare", "custom"]) == (
        f"there is no backend {mistyped!r}; did you mean 'cloudflare'? "
        "(installed: cloudflare, custom)"
    )


def test_n12_a_package_is_recommended_only_when_it_is_known() -> None:
    assert missing_backend("cloudflared", ["ssh"]) == (
        "there is no backend 'cloudflared'; did you mean 'cloudflare'? "
        "run: pip install prx-tunnel-cloudflare"
    )
    assert missing_backend("ngrok", ["ssh"]) == (
        "backend 'ngrok' is not installed; run: pip install prx-tunnel-ngrok (installed: ssh)"
    )
    for unknown in ("zrok-io-malware", "requests", "frp"):
        assert "pip install" not in missing_backend(unknown, ["custom"])


@pytest.mark.parametrize(("short", "meant"), [("cf", "cloudflare"), ("ts", "tailscale")])
def test_n12_an_abbreviation(short: str, meant: str) -> None:
    assert f"did you mean {meant!r}?" in missing_backend(short, ["ssh", "custom"])


def test_n12_a_backend_of_a_third_party_is_meant_too() -> None:
    assert "did you mean 'bore'?" in missing_backend("bor", ["bore"])


@pytest.mark.parametrize("key", ["reconect", "reconnects", "local_prot"])
def test_a_table_that_resembles_a_key_is_left_to_the_validation_of_the_keys(key: str) -> None:
    check_backend_tables({key: {}}, "ssh")
    with pytest.raises(ConfigError, match=r"unknown table \[tunnel\.elsewhere\]"):
        check_backend_tables({"elsewhere": {}}, "ssh")
