from __future__ import annotations

import pytest

from prx_tunnel_core._health.answers import verdict_of


@pytest.mark.parametrize("status", [200, 204, 301, 302, 308, 400, 401, 403, 404, 405, 418, 429])
def test_f08_any_answer_of_the_application_is_reachable(status: int) -> None:
    assert verdict_of(status, {}) == ("ok", f"HTTP {status}")
    assert verdict_of(status, {"server": "cloudflare"}) == ("ok", f"HTTP {status}")


@pytest.mark.parametrize("status", [500, 501, 505, 520, 530, 599])
def test_f08_also_one_that_says_it_is_broken(status: int) -> None:
    assert verdict_of(status, {"server": "nginx"}) == ("ok", f"HTTP {status}")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_f09_what_a_proxy_on_the_way_may_have_said_is_unknown(status: int) -> None:
    verdict, reason = verdict_of(status, {})
    assert verdict == "unknown"
    assert f"HTTP {status}" in reason


@pytest.mark.parametrize("server", ["cloudflare", "Cloudflare"])
def test_f10_cloudflares_own_pages(server: str) -> None:
    assert verdict_of(530, {"server": server})[0] == "fail"
    for status in (520, 521, 522, 523, 524, 525, 526, 527):
        assert verdict_of(status, {"server": server})[0] == "unknown"


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (404, "ERR_NGROK_3200", "fail"),
        (502, "ERR_NGROK_8012", "unknown"),
        (511, "ERR_NGROK_6024", "ok"),
        (200, "ERR_NGROK_725", "unknown"),
    ],
)
def test_f10_ngroks_own_pages(status: int, code: str, verdict: str) -> None:
    result, reason = verdict_of(status, {"ngrok-error-code": code})
    assert result == verdict
    assert code in reason


def test_a_header_is_shown_bounded_and_without_escapes() -> None:
    _, reason = verdict_of(200, {"ngrok-error-code": "\x1b[31m" + "x" * 1000})
    assert reason.isprintable()
    assert len(reason) < 100


@pytest.mark.parametrize("status", [407, 511])
def test_f07_a_network_that_wants_a_login_is_not_the_tunnel(status: int) -> None:
    assert verdict_of(status, {})[0] == "unknown"
