from __future__ import annotations

import json

import pytest
from cloudflare_kit import recordings
from prx_tunnel_cloudflare.logline import LogLine, parse

T = "2026-11-22T13:06:27Z"


def test_text() -> None:
    line = parse(f'{T} ERR Serve tunnel error error="a \\"b\\" c=d" connIndex=0 ip=127.0.2.1')
    assert (line.level, line.message, line.error) == ("error", "Serve tunnel error", 'a "b" c=d')
    assert line.fields["connIndex"] == "0"


def test_empty_message() -> None:
    line = parse(f'{T} ERR  error="Unable to reach the origin service." connIndex=0')
    assert (line.message, line.error) == ("", "Unable to reach the origin service.")


def test_plain() -> None:
    assert parse("Provided Tunnel token is not valid.").level == ""


@pytest.mark.parametrize(
    "line",
    ["", "{", "{}", "[]", '{"level":1}', '{"message":"x"}', "null", "[" * 20_000, "{" * 20_000,
     '{"level":"info","message":{"a":1}}', f"{T} XXX y", f'{T} ERR x error="never closed'],
)  # fmt: skip
def test_nothing_makes_it_fail(line: str) -> None:
    assert isinstance(parse(line), LogLine)


def test_an_endless_line_is_looked_at_in_part() -> None:
    assert len(parse(f"{T} INF " + "x" * 1_000_000).message) < 20_000


def test_both_forms_say_the_same() -> None:
    (text,) = recordings.runs("c01-quick-success-quic-text")
    (structured,) = recordings.runs("c01-quick-success-quic-json")
    messages = [
        [(line.level, line.message) for line in map(parse, run.lines) if "http" not in line.message]
        for run in (text, structured)
    ]
    for level, message in messages[1]:
        if "Connector" not in message and "+--" not in message and "|" not in message:
            assert (level, message) in messages[0]
    assert json.loads(structured.lines[0])["level"] == "info"
