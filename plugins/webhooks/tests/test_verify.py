"""M05 to M08: what is accepted as the provider's, and what never is."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from prx_tunnel_webhooks import verify
from pydantic import SecretStr
from webhook_kit.signing import (
    BODY,
    SCHEMES,
    SECRET,
    SIGNED,
    STANDARD,
    TIMED,
    hexdigest,
    sign_github,
    sign_slack,
    sign_standard,
    sign_stripe,
    sign_telegram,
)


@pytest.mark.parametrize("name", SCHEMES)
def test_what_the_provider_sent_is_accepted(name: str) -> None:
    scheme, sign, secret, delivery = SCHEMES[name]
    assert scheme(sign(), BODY, secret).id == delivery
    raw = [(key.lower().encode(), value.encode()) for key, value in sign().items()]
    assert scheme(raw, BODY, SecretStr(secret)).id == delivery
    assert scheme(sign(), BODY, secret.encode()).id == delivery


@pytest.mark.parametrize("name", SCHEMES)
def test_a_secret_that_is_being_replaced_counts_as_well(name: str) -> None:
    scheme, sign, secret, _ = SCHEMES[name]
    other = STANDARD.replace("MDEy", "AAAA") if name == "standard" else "another-secret"
    assert scheme(sign(), BODY, [other, secret]).id
    assert scheme(sign(), BODY, (secret, other)).id
    with pytest.raises(verify.Rejected):
        scheme(sign(), BODY, [other])


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("secret", ["", b"", [], (), [""], ["a-secret", ""], None, SecretStr("")])
def test_without_a_secret_nothing_is_ever_verified(name: str, secret: Any) -> None:
    scheme, sign, *_ = SCHEMES[name]
    with pytest.raises(ValueError, match="without its secret"):
        scheme(sign(), BODY, secret)


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize(
    "body", [BODY + b" ", BODY[:-1], BODY.replace(b"\xc3\xbc", b"u"), b"", b"\xff\xfe", b"\x1f\x8b"]
)
def test_m06_other_bytes_are_refused(name: str, body: bytes) -> None:
    scheme, sign, secret, _ = SCHEMES[name]
    with pytest.raises(verify.Rejected, match="no signature fits"):
        scheme(sign(), body, secret)


@pytest.mark.parametrize("name", ["github", "slack", "stripe"])
def test_m06_bytes_that_are_no_text_are_verified_as_they_are(name: str) -> None:
    scheme, sign, secret, _ = SCHEMES[name]
    for body in (b"\xff\xfe\x00", b"\x1f\x8b\x08gzip", b""):
        assert scheme(sign(body), body, secret).id


@pytest.mark.parametrize("name", SCHEMES)
def test_m05_missing_empty_short_long_and_strange_headers_are_refused(name: str) -> None:
    scheme, sign, secret, _ = SCHEMES[name]
    for header, value in sign().items():
        others = {key: text for key, text in sign().items() if key != header}
        with pytest.raises(verify.Rejected, match="is missing"):
            scheme(others, BODY, secret)
        if header in ("X-GitHub-Delivery", "webhook-id"):
            continue
        for bad in (
            "",
            value[:-1],
            value + "0",
            value[:7],
            "=",
            ",",
            "é",
            "\x00",
            "v1",
            value * 99,
        ):
            with pytest.raises(verify.Rejected):
                scheme({**others, header: bad}, BODY, secret)


@pytest.mark.parametrize("name", SCHEMES)
def test_m05_a_header_that_is_there_twice_is_refused(name: str) -> None:
    scheme, sign, secret, _ = SCHEMES[name]
    raw = [(key.encode(), value.encode()) for key, value in sign().items()]
    for pair in raw:
        with pytest.raises(verify.Rejected, match="is there 2 times"):
            scheme([*raw, (pair[0].upper(), pair[1])], BODY, secret)
        joined = {**sign(), pair[0].decode(): f"{pair[1].decode()},{pair[1].decode()}"}
        if pair[0] not in (b"X-GitHub-Delivery", b"webhook-id"):
            with pytest.raises(verify.Rejected):
                scheme(joined, BODY, secret)


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize(("at", "word"), [(-320, "old"), (320, "in the future"), (-1e6, "old")])
def test_m07_what_is_not_of_these_minutes_is_refused(name: str, at: float, word: str) -> None:
    scheme, sign, secret, _ = SCHEMES[name]
    with pytest.raises(verify.Rejected, match=word):
        scheme(sign(at=at), BODY, secret)
    for near in (-280, 280):
        assert scheme(sign(at=near), BODY, secret).id


@pytest.mark.parametrize("moment", ["1e9", "nan", "-1", "+1", "1_0", "٣", "9" * 400, "0x1", "1.5"])
def test_m07_a_timestamp_is_a_number_of_seconds(moment: str) -> None:
    slack = {**sign_slack(), "X-Slack-Request-Timestamp": moment}
    stripe = {"Stripe-Signature": f"t={moment},v1={'0' * 64}"}
    standard = {**sign_standard(), "webhook-timestamp": moment}
    for scheme, headers, secret in (
        (verify.slack, slack, SECRET),
        (verify.stripe, stripe, SECRET),
        (verify.standard_webhooks, standard, STANDARD),
    ):
        with pytest.raises(verify.Rejected, match=r"no number of seconds|not ASCII"):
            scheme(headers, BODY, secret)


def test_m08_only_sha256_counts() -> None:
    delivery = {"X-GitHub-Delivery": "1"}
    good = hexdigest(SECRET, BODY)
    for value in (
        f"sha1={hexdigest(SECRET, BODY, 'sha1')}",
        f"sha256={hexdigest(SECRET, BODY, 'sha1')}",
        f"SHA256={good}",
        f"sha256={good.upper()}",
        f"sha256= {good}",
        good,
    ):
        with pytest.raises(verify.Rejected):
            verify.github({**delivery, "X-Hub-Signature-256": value}, BODY, SECRET)
    old = {**delivery, "X-Hub-Signature": f"sha1={hexdigest(SECRET, BODY, 'sha1')}"}
    with pytest.raises(verify.Rejected, match="x-hub-signature-256 is missing"):
        verify.github(old, BODY, SECRET)
    v1 = sign_slack()["X-Slack-Signature"].replace("v0=", "v1=")
    with pytest.raises(verify.Rejected):
        verify.slack({**sign_slack(), "X-Slack-Signature": v1}, BODY, SECRET)
    v0 = sign_stripe()["Stripe-Signature"].replace("v1=", "v0=")
    with pytest.raises(verify.Rejected):
        verify.stripe({"Stripe-Signature": v0}, BODY, SECRET)
    v1a = sign_standard()["webhook-signature"].replace("v1,", "v1a,")
    with pytest.raises(verify.Rejected):
        verify.standard_webhooks({**sign_standard(), "webhook-signature": v1a}, BODY, STANDARD)


def test_m08_one_of_several_candidates_is_enough_but_not_of_thousands() -> None:
    moment, _, signature = sign_stripe()["Stripe-Signature"].partition(",")
    wrong = f"v1={'0' * 64}"
    many = f"{moment},v0=x,{wrong},{signature},{wrong}"
    assert verify.stripe({"Stripe-Signature": many}, BODY, SECRET).id == "evt_1"
    flood = ",".join([moment, *[wrong] * 5000, signature])
    with pytest.raises(verify.Rejected):
        verify.stripe({"Stripe-Signature": flood}, BODY, SECRET)

    headers = sign_standard()
    zero = "v1," + base64.b64encode(bytes(32)).decode()
    many = f"v2,x junk v1 v1, v1,! {zero} {headers['webhook-signature']}"
    told = {**headers, "webhook-signature": many}
    assert verify.standard_webhooks(told, BODY, STANDARD).id == "msg_1"
    flood = " ".join([zero] * 5000 + [headers["webhook-signature"]])
    with pytest.raises(verify.Rejected):
        verify.standard_webhooks({**headers, "webhook-signature": flood}, BODY, STANDARD)


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[object, object]] = []
    real = hmac.compare_digest

    def noted(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr("hmac.compare_digest", noted)
    for scheme, sign, secret, _ in SCHEMES.values():
        compared.clear()
        scheme(sign(), BODY, secret)
        assert compared
        assert all(isinstance(value, bytes) for pair in compared for value in pair)


def test_the_published_examples_of_the_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub's and Slack's documentation; Stripe's from its library 16.1."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    github = {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": "1"}
    assert verify.github(github, b"Hello, World!", "It's a Secret to Everybody").id

    monkeypatch.setattr("time.time", lambda: 1_531_420_618.5)
    slack = {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015."
        b"47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    delivery = verify.slack(slack, body, "8f742231b10e8888abcd99yyyzzz85a5")
    assert delivery.id == slack["X-Slack-Signature"].removeprefix("v0=")

    monkeypatch.setattr("time.time", lambda: 1_700_000_001.0)
    header = "t=1700000000,v1=bb52f48d8ab4a1763ee29b60936eea2c05f1ff959741eccef9d64115fcbbbdd8"
    event = '{"id": "evt_1", "object": "event", "name": "Grüße"}'.encode()
    assert verify.stripe({"Stripe-Signature": header}, event, "whsec_test_secret").id == "evt_1"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"update_id": true}', b"\xff", b"[" * 9999])
def test_a_body_that_is_no_update_is_none_of_telegram_s(body: bytes) -> None:
    with pytest.raises(verify.Rejected, match="no update"):
        verify.telegram(sign_telegram(), body, SECRET)


def test_a_malformed_secret_of_standard_webhooks_is_told() -> None:
    with pytest.raises(ValueError, match=r"padding|base64|characters"):
        verify.standard_webhooks(sign_standard(), BODY, "whsec_x")


def test_headers_of_werkzeug_keep_their_duplicates() -> None:
    from werkzeug.datastructures import Headers

    headers = Headers(list(sign_github().items()))
    assert verify.github(headers, BODY, SECRET).id
    headers.add("x-hub-signature-256", "sha256=0")
    with pytest.raises(verify.Rejected, match="2 times"):
        verify.github(headers, BODY, SECRET)


def test_verifying_needs_neither_pydantic_nor_an_http_client() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from prx_tunnel_webhooks import verify; "
        "print([m for m in ('httpx', 'pydantic', 'standardwebhooks') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_deliveries_forget_the_oldest() -> None:
    deliveries = verify.Deliveries(kept=2)
    assert deliveries.begin("a") == "new"
    assert deliveries.begin("a") == "under way"
    deliveries.end("a", taken=True)
    assert deliveries.begin("a") == "done"
    assert deliveries.begin("b") == "new"
    deliveries.end("b", taken=False)
    assert deliveries.begin("b") == "new"
    assert deliveries.begin("c") == "new"
    assert deliveries.begin("a") == "new"
    assert verify.Deliveries(kept=0).begin("a") == "new"
