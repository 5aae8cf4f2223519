"""What tells a visitor from a local client: in requests through the real cloudflared."""

from __future__ import annotations

import json
import re

import pytest
from cloudflare_kit.recordings import FOLDER
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connection import CloudflareConnection

REQUEST = re.compile(r"GET https://\S+/headers\?a=1 -> 200 '(.*)' \(")


@pytest.mark.parametrize("name", ["quick-success-http2-text", "quick-success-quic-text"])
def test_each_request_has_all_of_the_headers(name: str) -> None:
    text = (FOLDER / f"c01-{name}.txt").read_text(encoding="utf-8")
    match = REQUEST.search(text)
    assert match is not None
    arrived = json.loads(match[1].replace("\\n", "\n").replace('\\\\"', '\\"'))["headers"]
    names = [header.lower() for header, _ in arrived]
    headers = CloudflareConnection.visitor_headers
    assert headers is not None
    assert set(headers.always) <= set(names)
    assert names.count(headers.address) == 1


def test_a_configured_hostname_is_known_beforehand() -> None:
    named = CloudflareConfig(token_file="/token", hostname="agent.example.com")
    assert named.known_url() == "https://agent.example.com"
    assert CloudflareConfig().known_url() is None
