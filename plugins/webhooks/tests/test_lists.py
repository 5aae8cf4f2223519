"""Lists of this plugin, each walked whole; written here a second time, from RFC 9110 and ours."""

from __future__ import annotations

import pytest
from prx_tunnel_webhooks.config import WebhooksConfig
from prx_tunnel_webhooks.template import Request

from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding", "Connection"])
def test_a_header_that_frames_the_request_cannot_be_set(name: str) -> None:
    for spelling in (name, name.lower(), name.upper()):
        table = {"url": "https://a.example/x", "headers": {spelling: "x"}}
        with pytest.raises(ConfigError, match="cannot be set as a header"):
            validate(Request, table, path="webhooks.x")
    validate(Request, {"url": "https://a.example/x", "headers": {f"X-{name}": "x"}}, path="x")


@pytest.mark.parametrize("kind", ["telegram", "github", "github-organisation", "slack", "http"])
def test_each_kind_has_a_table_of_its_own(kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(WebhooksConfig, {"mine": {"kind": kind, "no_such_key": 1}}, path="webhooks")
    assert "no_such_key" in str(caught.value)


def test_no_other_kind_is_known() -> None:
    with pytest.raises(ConfigError, match="'gitlab' is not known; did you mean 'github'"):
        validate(WebhooksConfig, {"mine": {"kind": "gitlab"}}, path="webhooks")
