from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from prx_tunnel_core.process._output import CUT, LineCutter

LONGEST = 8
# Few letters, so that line ends and lines of just the longest length come up often.
texts = st.text("ab\r\n", max_size=60).map(str.encode)
cuts = st.lists(st.integers(0, 60), max_size=8)


def pieces(text: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(each, len(text)) for each in at), len(text)]
    return [text[begin:end] for begin, end in pairwise(edges)]


def fed(chunks: list[bytes]) -> list[bytes]:
    cutter = LineCutter(LONGEST)
    return [line for chunk in chunks for line in cutter.feed(chunk)] + cutter.end()


def expected(text: bytes) -> list[bytes]:
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line if len(line) <= LONGEST else line[:LONGEST] + CUT for line in lines]


@given(texts, cuts)
def test_any_chunking_gives_the_same_lines(text: bytes, at: list[int]) -> None:
    assert fed(pieces(text, at)) == expected(text)


@given(texts, cuts, st.integers(0, 5))
def test_most_gives_the_last_lines_of_each_chunk(text: bytes, at: list[int], most: int) -> None:
    everything, bounded = LineCutter(LONGEST), LineCutter(LONGEST)
    for chunk in pieces(text, at):
        lines = everything.feed(chunk)
        assert bounded.feed(chunk, most=most) == lines[max(len(lines) - most, 0) :]
    assert bounded.end() == everything.end()


def test_b11_the_rest_of_an_overlong_line_is_no_line() -> None:
    cutter = LineCutter(LONGEST)
    assert cutter.feed(b"x" * 100) == []
    assert cutter.feed(b"https://evil.example.com\nnext\n") == [b"x" * LONGEST + CUT, b"next"]


def test_an_overlong_line_takes_no_more_memory_than_a_long_one() -> None:
    cutter = LineCutter(LONGEST)
    for _ in range(1000):
        cutter.feed(b"x" * 1000)
    assert len(cutter._begun) == LONGEST
