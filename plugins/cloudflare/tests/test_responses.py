"""Cloudflare's own pages at the public URL."""

from __future__ import annotations

import pytest
from prx_tunnel_cloudflare.connection import classify_response


@pytest.mark.parametrize("server", ["cloudflare", "Cloudflare"])
def test_f10_cloudflares_own_pages(server: str) -> None:
    def verdict(status: int) -> str:
        check = classify_response(status, {"server": server})
        assert check is not None
        assert f"HTTP {status}" in check.detail
        return check.verdict

    assert verdict(530) == "fail"
    for status in (520, 521, 522, 523, 524, 525, 526, 527):
        assert verdict(status) == "unknown"


@pytest.mark.parametrize("status", [200, 404, 500, 502, 503, 519, 528, 529, 531])
def test_any_other_answer_is_the_applications(status: int) -> None:
    assert classify_response(status, {"server": "cloudflare"}) is None


@pytest.mark.parametrize("headers", [{}, {"server": "nginx"}, {"via": "cloudflare"}])
def test_an_application_may_use_these_codes_itself(headers: dict[str, str]) -> None:
    for status in (520, 530):
        assert classify_response(status, headers) is None
