from __future__ import annotations

import pytest
from prx_tunnel_ngrok.reasons import RULES, Treatment, explain, refusal_in, words

PERMANENT = [
    102, 103, 105, 106, 107, 115, 116, 118, 120, 121, 122, 123, 127, 300, 303, 307, 312, 313, 315,
    319, 322, 326, 331, 332, 337, 338, 347, 354, 355, 359, 379, 381, 382, 393, 396, 397, 725, 733,
    4018, 8013, 8014, 9040,
]  # fmt: skip
LIMITED = [108, 324, 334, 348, 351, 6025]
TRANSIENT = [128, 380, 722, 6000, 8000, 8009]
UNKNOWN = [1, 99999]


@pytest.mark.parametrize(
    ("code", "treatment"),
    [
        *((code, Treatment.PERMANENT) for code in PERMANENT),
        *((code, Treatment.LIMITED) for code in LIMITED),
        *((code, Treatment.TRANSIENT) for code in [*TRANSIENT, *UNKNOWN]),
    ],
)
def test_each_code_is_treated_as_ngrok_documents_it(code: int, treatment: Treatment) -> None:
    refusal = refusal_in(f"authentication failed: No.\r\n\r\nERR_NGROK_{code}\r\n")
    assert refusal is not None
    assert refusal.code == code
    assert refusal.treatment is treatment


def test_every_row_that_someone_has_to_act_on_says_how() -> None:
    for rule in RULES:
        assert bool(rule.fix) is (rule.treatment is not Treatment.TRANSIENT), rule


def test_a_text_without_a_code_is_no_refusal() -> None:
    assert refusal_in("dial tcp 127.0.0.1:443: connect: connection refused") is None
    assert refusal_in("ERR_NGROK_") is None


def test_the_words_are_one_line_without_code_link_and_token() -> None:
    text = (
        "ERROR:  authentication failed: The authtoken you specified is invalid.\n"
        "ERROR:  Your authtoken: 2abcDEF_ghi\nERROR:\nERROR:  ERR_NGROK_107\n"
        "ERROR:  https://ngrok.com/docs/errors/err_ngrok_107\nERROR:  "
    )
    expected = "The authtoken you specified is invalid. Your authtoken: **********"
    assert words(text.replace("ERROR:  authentication failed: ", "ERROR:  ")) == expected
    assert words("authentication failed: No.\r\n\r\nERR_NGROK_128\r\n") == "No"


def test_a_refusal_reads_as_words_code_and_fix() -> None:
    refusal = refusal_in("The endpoint is already online.\r\n\r\nERR_NGROK_334\r\n")
    assert str(refusal) == (
        "The endpoint is already online (ERR_NGROK_334); stop the other agent, see "
        "https://dashboard.ngrok.com/agents, or set tunnel.ngrok.pooling = true to share the domain"
    )


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ("failed to dial ngrok server: dial tcp: lookup x: no such host", "does not resolve"),
        ("resolved connect.ngrok-agent.com has no records", "does not resolve"),
        ("lookup x on 127.0.0.53:53: server misbehaving", "does not resolve"),
        ("failed to send authentication request: x509: unknown authority", "intercepts TLS"),
        ("remote error: tls: handshake failure", "intercepts TLS"),
        ("failed to send authentication request: failed to fetch CRL. asn1", "revocation list"),
        ("failed to dial ngrok server: dial tcp 192.0.2.1:443: i/o timeout", "port 443"),
        ("dial tcp 192.0.2.1:443: connect: connection refused", "port 443"),
        ("dial tcp 192.0.2.1:443: connect: network is unreachable", "port 443"),
        ("proxyconnect tcp: dial tcp 127.0.0.1:1: refused", "the proxy that HTTPS_PROXY"),
    ],
)
def test_what_a_network_error_means(error: str, meaning: str) -> None:
    assert explain(error).startswith(f"{error} (")
    assert meaning in explain(error)


def test_an_unknown_error_stays_as_it_is() -> None:
    assert explain("something new") == "something new"
