from __future__ import annotations

import pytest
from prx_tunnel_ngrok.reasons import explain


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ("failed to dial ngrok server: dial tcp: lookup x: no such host", "does not resolve"),
        ("resolved connect.ngrok-agent.com has no records", "does not resolve"),
        ("lookup x on 127.0.0.53:53: server misbehaving", "does not resolve"),
        ("failed to send authentication request: x509: unknown authority", "breaks up TLS"),
        ("remote error: tls: handshake failure", "breaks up TLS"),
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
