"""What tells a visitor from a local client, and where nothing does for certain."""

from __future__ import annotations

from prx_tunnel_ngrok.config import NgrokConfig
from prx_tunnel_ngrok.connect import _visitor_headers


def test_the_last_item_of_what_ngrok_appends_is_the_visitor() -> None:
    headers = _visitor_headers(NgrokConfig())
    assert headers is not None
    assert headers.address == "x-forwarded-for"
    assert headers.address in headers.always


def test_a_policy_of_the_users_may_remove_what_tells() -> None:
    policy = {"on_http_request": [{"actions": [{"type": "remove-headers"}]}]}
    assert _visitor_headers(NgrokConfig(traffic_policy=policy)) is None


def test_a_configured_domain_is_known_beforehand() -> None:
    assert NgrokConfig(domain="a.example.com").known_url() == "https://a.example.com"
    assert NgrokConfig().known_url() is None
