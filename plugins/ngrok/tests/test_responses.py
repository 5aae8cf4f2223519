"""ngrok's own pages at the public URL, and the request that looks for them."""

from __future__ import annotations

import pytest
from prx_tunnel_ngrok.connection import PROBE_HEADERS, classify_response


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
    check = classify_response(status, {"ngrok-error-code": code})
    assert check is not None
    assert check.verdict == verdict
    assert code in check.detail


def test_a_header_is_shown_bounded_and_without_escapes() -> None:
    check = classify_response(200, {"ngrok-error-code": "\x1b[31m" + "x" * 1000})
    assert check is not None
    assert check.detail.isprintable()
    assert len(check.detail) < 100


def test_any_other_answer_is_the_applications() -> None:
    for status in (200, 404, 502, 511, 530):
        assert classify_response(status, {"server": "nginx", "ngrok-error-code": ""}) is None


def test_the_page_before_the_first_visit_is_skipped() -> None:
    assert PROBE_HEADERS == {"ngrok-skip-browser-warning": "1"}
