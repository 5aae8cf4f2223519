"""Whatever is put in: what comes out is text for a terminal, and no secret is in it."""

from __future__ import annotations

import base64
import json
import urllib.parse

from hypothesis import given
from hypothesis import strategies as st

from prx_tunnel_core.text import (
    MASK,
    SHORTEST_SECRET,
    Redactor,
    one_line,
    printable,
    printable_lines,
)
from support.fuzz import fuzz

HOSTILE = st.text(
    st.characters() | st.sampled_from("\x1b\x9b\x9d\x90[]\\;mP\r\n\x07\x9c\u202e\u200b\U000e0041")
)
SECRETS = st.lists(st.text(min_size=4).filter(lambda text: "*" not in text), min_size=1, max_size=3)


@fuzz
@given(HOSTILE)
def test_one_line_is_one_line_and_harmless(text: str) -> None:
    for shown in (one_line(text), printable(text)):
        assert len(shown.splitlines()) <= 1
        assert not any(c != "\t" and (c < " " or "\x7f" <= c < "\xa0") for c in shown)
        assert not any("\ud800" <= c < "\ue000" or "\u202a" <= c <= "\u202e" for c in shown)
        assert one_line(shown) == shown == printable(shown)


@fuzz
@given(HOSTILE)
def test_lines_stay_lines_and_only_the_first_is_not_indented(text: str) -> None:
    shown = printable_lines(text, indent="    ")
    assert shown.count("\n") == text.count("\n")
    assert all(line.startswith("    ") for line in shown.split("\n")[1:])
    assert printable_lines(shown, indent="    ") == shown


def spelled(secret: str) -> list[str]:
    raw = secret.encode(errors="surrogatepass")
    return [
        secret,
        urllib.parse.quote(secret, safe="", errors="surrogatepass"),
        json.dumps(secret)[1:-1],
        base64.b64encode(raw).decode().rstrip("="),
        one_line(secret),
    ]


@fuzz
@given(SECRETS, st.data())
def test_no_spelling_of_a_secret_is_left(secrets: list[str], data: st.DataObject) -> None:
    spellings = [each for secret in secrets for each in spelled(secret.strip())]
    parts = st.sampled_from(spellings) | HOSTILE.filter(lambda text: "*" not in text)
    line = "".join(data.draw(st.lists(parts, max_size=6)))
    left = Redactor(secrets)(line)
    for secret in secrets:
        if len(secret.strip()) >= SHORTEST_SECRET:
            assert secret.strip() not in left
    assert left.replace(MASK, "") == "" or set(left) <= set(line) | {"*"}


@fuzz
@given(SECRETS, HOSTILE.filter(lambda text: "*" not in text), st.integers(0, 40))
def test_no_beginning_of_a_secret_is_left_at_the_end(
    secrets: list[str], before: str, kept: int
) -> None:
    secret = secrets[0].strip()
    begun = secret[:kept]
    left = Redactor(secrets).cut_off(f"{before} {begun}").rstrip("\ufffd")
    if len(secret) >= SHORTEST_SECRET and len(begun.rstrip("\ufffd")) >= SHORTEST_SECRET:
        assert not left.endswith(begun)
