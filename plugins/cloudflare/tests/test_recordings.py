"""Every recording, unedited, and what has to be made of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from cloudflare_kit import recordings
from cloudflare_kit.recordings import Run
from prx_tunnel_cloudflare.ingress import read_ingress
from prx_tunnel_cloudflare.journal import Journal
from prx_tunnel_cloudflare.naming import accept_quick_hostname

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import SetupError

TARGET = Target("127.0.0.1", 9999)

TABLE = {
    name: (up, cause, hostname)
    for name, up, cause, hostname in (
        line.split(" | ")
        for line in (Path(__file__).parent / "verdicts.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}


def all_runs() -> dict[str, Run]:
    return {
        f"{name}.{number}": run
        for name in recordings.names()
        for number, run in enumerate(recordings.runs(name))
    }


RUNS = all_runs()


def journal_of(run: Run) -> Journal:
    journal = Journal()
    for line in run.lines:
        journal.feed(line)
    return journal


def public_name(run: Run) -> str:
    quick = run.last_answer("/quicktunnel") or {}
    if quick.get("hostname"):
        return accept_quick_hostname(quick["hostname"])
    return read_ingress(run.last_answer("/config") or {}).public_hostname(TARGET) or "-"


def test_the_table_knows_every_recording() -> None:
    # Two are of the harness only: what the program printed is not in them.
    silent = {"d13-stderr-never-drained", "d13-stderr-reader-gone"}
    assert TABLE.keys() == RUNS.keys()
    assert {key.rpartition(".")[0] for key in TABLE} == set(recordings.names()) - silent


@pytest.mark.parametrize("key", RUNS)
def test_verdict(key: str) -> None:
    run = RUNS[key]
    journal = journal_of(run)
    cause = "-" if journal.reason is None else journal.reason.cause.value
    up = "up" if journal.registered is not None else "-"
    assert (up, cause, public_name(run)) == TABLE[key]


@pytest.mark.parametrize(
    "key", [key for key, run in RUNS.items() if run.answers.get("/ready") and not run.label]
)
def test_log_and_metrics_server_belong_together(key: str) -> None:
    run = RUNS[key]
    journal = journal_of(run)
    told = {body for _, body in run.answers["/ready"] if body.startswith("{")}
    if journal.connector_id is not None:
        assert all(f'"connectorId":"{journal.connector_id}"' in body for body in told)


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("c01-quick-success-quic-text.0", {"location": "lis01", "protocol": "quic"}),
        ("c01-quick-success-quic-json.0", {"location": "lis01", "protocol": "quic"}),
        ("c02-named-token-success-http2-json.0", {"location": "lis01", "protocol": "http2"}),
    ],
)
def test_where_it_is_connected(key: str, fields: dict[str, str]) -> None:
    journal = journal_of(RUNS[key])
    assert journal.registered is not None
    assert fields.items() <= journal.registered.items()
    assert (journal.version, journal.metrics_port) == ("2026.8.2", 20999)


@pytest.mark.parametrize(
    ("key", "permanent", "retry_after", "words"),
    [
        ("b01-quick-no-network-text.0", False, 0, "name server"),
        ("b03-quick-api-429-text.0", False, 300, "limits how many quick tunnels"),
        ("b03-quick-api-500html-json.0", False, 60, "500 Internal Server Error"),
        ("b03-quick-api-successfalse-text.0", False, 60, "does not say why"),
        ("b04-quick-api-hang.0", False, 0, "port 443"),
        ("d05-token-no-dns.0", False, 0, "argotunnel.com"),
        ("d06-port-7844-blocked-auto-text.0", False, 0, "UDP and TCP to port 7844"),
        ("d06-port-7844-blocked-http2.0", False, 0, "over TCP"),
        ("d07-udp-blocked-quick-default.0", False, 0, 'protocol = "http2"'),
        ("c06-edge-cert-untrusted-auto.0", False, 0, "inspects TLS"),
        ("c06-edge-cert-untrusted-http2.0", False, 0, "unknown authority"),
        ("c05-register-error-tooold-http2.0", False, 0, "too old, please update"),
        ("c04-unauthorized-secret-http2-text.0", False, 0, "Invalid tunnel secret"),
        ("a03-usage-errors.3", True, 0, "-no-such-flag"),
        ("a04-bad-tokens.0", True, 0, "copy the whole token"),
        ("e24-metrics-race.1", False, 0, "address already in use"),
    ],
)
def test_each_cause_has_its_own_words(
    key: str, permanent: bool, retry_after: float, words: str
) -> None:
    reason = journal_of(RUNS[key]).reason
    assert reason is not None
    error = reason.to_error()
    assert isinstance(error, SetupError) == permanent
    assert getattr(error, "retry_after", 0) == retry_after
    assert words in str(error)


def test_damaged_json_lines_do_no_harm() -> None:
    """Concurrent writers interleave: here two lines in one, and one cut off."""
    lines = RUNS["c07-drop-all-http2-json.0"].lines
    journal = Journal()
    for first, second in pairwise(lines):
        journal.feed(first[:40] + second + first[40:])
        journal.feed(second[:-3])
    assert journal.metrics_port is None
    for line in lines:
        journal.feed(line)
    assert journal.metrics_port == 20999
