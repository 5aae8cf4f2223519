"""What foreign text may do to a terminal, and what it may carry out."""

from __future__ import annotations

import base64
import json
import math
import re
import time
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prx_tunnel_core.text import MASK, Redactor, _spellings, printable

URL = "https://quiet-river.trycloudflare.com"
LINE = 64 * 1024

# What a terminal shows of each, mostly seen in the output of real programs.
ESCAPES = {
    "plain": ("listening at bore.pub:41234", "listening at bore.pub:41234"),
    "colours": (f"\x1b[1;32m{URL}\x1b[0m", URL),
    "colour inside a word": ("https://quiet\x1b[31m-river\x1b[0m.example", "https://quiet-river.example"),
    "256 colours": (f"\x1b[38;5;208m{URL}\x1b[m", URL),
    "colons in colours": (f"\x1b[38:2::255:0:0m{URL}\x1b[m", URL),
    "cursor and erase": (f"\x1b[2K\x1b[1G{URL}\x1b[?25h", URL),
    "hyperlink ended by ST": (f"\x1b]8;;{URL}\x1b\\{URL}\x1b]8;;\x1b\\", URL),
    "hyperlink ended by BEL": (f"\x1b]8;id=1;{URL}\x07{URL}\x1b]8;;\x07", URL),
    "hyperlink in 8 bits": (f"\x9d8;;https://evil.example\x9c{URL}\x9d8;;\x9c", URL),
    "window title": (f"\x1b]0;ngrok\x07{URL}", URL),
    "device control": (f"\x1bPq#0;2;0;0;0\x1b\\{URL}", URL),
    "device control in 8 bits": (f"\x90q#0\x9c{URL}", URL),
    "application command": (f"\x1b_payload\x1b\\{URL}", URL),
    "8-bit colour": (f"\x9b31m{URL}\x9b0m", URL),
    "character set": (f"\x1b(B{URL}\x1b)0", URL),
    "keypad and reset": (f"\x1b=\x1bc{URL}", URL),
    "bell and NUL": (f"\x07{URL}\x00", URL),
    "carriage return at the end": (f"{URL}\r\n", URL),
    "progress bar": (f"10 %\r50 %\r100 %\r{URL}", URL),
    "progress bar that ends in a return": (f"connecting\r{URL}\r", URL),
    "progress bar that erases": (f"connecting\r\x1b[K{URL}\r\n", URL),
    "tab stays": ("a\tb", "a\tb"),
    "bidirectional override": ("https://a\u202emoc.live\u202c.example", "https://amoc.live.example"),
    "right-to-left mark": ("a\u200f\u061cb", "ab"),
    "line separator is a gap": ("https://a.example\u2028https://b.example", "https://a.example https://b.example"),
    "vertical tab is a gap": ("a\x0bb", "a b"),
    "half of a surrogate pair": ("a\udc80b", "ab"),
    "letters of the world stay": ("gestört · 隧道 │ ✓", "gestört · 隧道 │ ✓"),
    "cut inside a colour": (f"{URL}\x1b[3", URL),
    "cut inside a parameter": (f"{URL}\x1b[38;5", URL),
    "cut after the escape": (f"{URL}\x1b", URL),
    "cut inside a character set": (f"{URL}\x1b(", URL),
    "cut inside a hyperlink": (f"{URL} \x1b]8;;https://evil.exa", f"{URL} "),
    "cut before the end of a hyperlink": (f"{URL} \x1b]8;;x\x1b", f"{URL} "),
    "cut inside device control": (f"{URL} \x1bPq#0", f"{URL} "),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "shown"), ESCAPES.values(), ids=ESCAPES)
def test_printable_is_what_a_terminal_would_have_left(raw: str, shown: str) -> None:
    assert printable(raw) == shown


@given(st.text(alphabet=st.characters() | st.sampled_from("\x1b\x9b\x9d\x90[]\\;mP\r\n\x07\x9c")))
def test_nothing_that_controls_a_terminal_is_left(text: str) -> None:
    left = printable(text)
    assert not any(ord(c) < 32 and c != "\t" for c in left)
    assert not any(0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in left)
    left.encode("utf-8")


@given(st.text())
def test_printable_of_printable_changes_nothing(text: str) -> None:
    assert printable(printable(text)) == printable(text)


# A quadratic expression takes minutes for these; 0.5 s leaves room for a busy machine.
HOSTILE = {
    "escapes only": "\x1b" * LINE,
    "8-bit introducers only": "\x9b" * LINE,
    "8-bit commands only": "\x9d" * LINE,
    "hyperlinks that never end": "\x1b]8;;" * (LINE // 5),
    "one hyperlink that never ends": "\x1b]8;;" + "a" * LINE,
    "parameters that never end": "\x1b[" + "1;" * (LINE // 2) + "\x01",
    "intermediates that never end": "\x1b" + " " * LINE + "\x01",
    "device controls that never end": "\x1bP\x90" * (LINE // 3),
    "carriage returns": "a\r" * (LINE // 2),
    "colours": "\x1b[31ma" * (LINE // 6),
    "nothing to do but look": "é" * LINE,
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_line_is_looked_at_in_linear_time(line: str) -> None:
    began = time.perf_counter()
    printable(line)
    assert time.perf_counter() - began < 0.5


SECRET = 's3cr3t/+"\\ß=?&tok'


SPELLINGS = {
    "as it is": SECRET,
    "in a URL": urllib.parse.quote(SECRET, safe=""),
    "in a URL, lower case": re.sub(
        "%..", lambda match: match[0].lower(), urllib.parse.quote(SECRET, safe="")
    ),
    "in a form": urllib.parse.quote_plus(SECRET),
    "in JSON": json.dumps(SECRET)[1:-1],
    "in JSON with its own letters": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "in JSON of PHP": json.dumps(SECRET)[1:-1].replace("/", "\\/"),
    "in a Python string": ascii(SECRET)[1:-1],
    "in a path, by Python": urllib.parse.quote(SECRET),
    "in a path, by Go": "s3cr3t%2F+%22%5C%C3%9F=%3F&tok",
    "in a whole URL, by JavaScript": "s3cr3t/+%22%5C%C3%9F=?&tok",
    "in JSON of Go": 's3cr3t/+\\"\\\\ß=?\\u0026tok',
    "in HTML": 's3cr3t/+"\\ß=?&amp;tok',
    "in an attribute of HTML": "s3cr3t/+&quot;\\ß=?&amp;tok",
    "in an attribute of HTML, by Go": "s3cr3t/+&#34;\\ß=?&amp;tok",
}


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_a_secret_is_masked_however_it_was_quoted(spelled: str) -> None:
    assert Redactor([SECRET])(f'token="{spelled}" refused') == f'token="{MASK}" refused'


@pytest.mark.parametrize(
    ("secret", "spelled"),
    [
        ("it's/(8)*!", "it's%2F(8)*!"),
        ("a;b,c/d@e", "a;b,c%2Fd%40e"),
        ("a:b@c/d,e", "a:b@c%2Fd%2Ce"),
    ],
    ids=["a component by JavaScript", "before a host by Go", "in a path by Go"],
)
def test_a_secret_is_masked_whatever_a_url_leaves_as_it_is(secret: str, spelled: str) -> None:
    assert Redactor([secret])(f"'{spelled}'") == f"'{MASK}'"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", [b"", b":", b"a:", b"ab:", b"admin:"])
@pytest.mark.parametrize("after", [b"", b"\n", b"; path=/"])
def test_of_a_secret_in_base64_only_what_its_neighbours_decide_is_left(
    encode: Callable[[bytes], bytes], before: bytes, after: bytes
) -> None:
    encoded = encode(before + SECRET.encode() + after).decode()
    left, right = Redactor([SECRET])(encoded).split(MASK)
    assert len(left) <= math.ceil(len(before) * 8 / 6)
    assert len(right.rstrip("=")) <= math.ceil(len(after) * 8 / 6) + 1


@given(st.text(min_size=4).filter(lambda s: len(s.strip()) >= 4), st.binary(), st.binary())
def test_any_secret_is_masked_in_base64_at_any_place(
    secret: str, before: bytes, after: bytes
) -> None:
    secret = secret.strip()
    try:
        raw = secret.encode()
    except UnicodeEncodeError:
        return
    text = base64.b64encode(before + raw + after).decode()
    if len(raw) >= 8:
        assert MASK in Redactor([secret])(text)


@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("kept", [4, 8, -1])
def test_of_a_secret_that_was_cut_off_the_beginning_is_masked(spelled: str, kept: int) -> None:
    redact = Redactor([SECRET, "another secret"])
    assert redact.cut_off(f"s3cr tok={spelled[:kept]}") == f"s3cr tok={MASK}"
    assert redact.cut_off(f"{SECRET} tok={spelled[:3]}") == f"{MASK} tok={spelled[:3]}"
    assert redact.cut_off(f"{spelled[:kept]} tok") == f"{spelled[:kept]} tok"


def test_a_secret_that_was_cut_off_within_a_character() -> None:
    begun = "pässwörd".encode()[:7].decode(errors="replace")
    assert begun == "pässw\ufffd"
    assert Redactor(["pässwörd"]).cut_off(begun) == MASK
    assert Redactor(["pässwörd"]).cut_off("nothing\ufffd") == "nothing\ufffd"


def test_the_longest_beginning_is_masked() -> None:
    assert Redactor(["aaaaaaaab"]).cut_off("baaaaaaaa") == f"b{MASK}"
    assert Redactor(["tok-tok-tok-1", "tok-2"]).cut_off("tok-tok-tok-") == MASK


def test_what_is_much_like_the_beginning_of_a_secret_takes_no_time() -> None:
    redact = Redactor(["a" * 4000 + "b", "ab" * 2000])
    began = time.perf_counter()
    for text in ("a" * 4000, "ab" * 1999, "a" * 4000 + "c", "ab" * 1999 + "c"):
        redact.cut_off(text)
    assert time.perf_counter() - began < 0.5


def test_a_multi_line_key_is_masked_line_by_line() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nshort\n-----END KEY-----\n"
    assert Redactor([key])("line 2: MIIEvQIBADANBgkqhkiG9w0B!") == f"line 2: {MASK}!"


def test_the_longest_secret_wins_where_one_begins_like_another() -> None:
    assert Redactor(["token-1", "token-1-of-production"])("token-1-of-production") == MASK


@pytest.mark.parametrize("short", ["", "a", "abc", "   ", " ab "])
def test_a_text_too_short_to_be_a_secret_masks_nothing(short: str) -> None:
    assert Redactor([short])("a banana, abc") == "a banana, abc"


def test_secrets_may_be_added_and_the_redactor_shows_none() -> None:
    redact = Redactor()
    assert redact("swordfish") == "swordfish"
    redact.add("swordfish")
    redact.add("swordfish")
    assert redact("swordfish") == MASK
    assert "swordfish" not in repr(redact)
    assert "swordfish" not in str(vars(Redactor(["sword"])))


@pytest.mark.parametrize("half", [chr(0xDC80), chr(0xD800)])
def test_a_half_surrogate_in_a_secret_breaks_nothing(half: str) -> None:
    assert Redactor([f"abcd{half}"])(f"abcd{half}") == MASK


LONG_LINES = {
    "nothing alike": "x" * LINE,
    "almost the secret": SECRET[:-1] * (LINE // len(SECRET)),
    "the secret again and again": SECRET * (LINE // len(SECRET)),
    "its first letter": "s" * LINE,
}


@pytest.mark.parametrize("line", LONG_LINES.values(), ids=LONG_LINES)
def test_redacting_a_long_line_does_not_hold_up_a_loop(line: str) -> None:
    redact = Redactor([SECRET])
    began = time.perf_counter()
    redact(line)
    assert time.perf_counter() - began < 0.5


SPREAD = [
    "a" * 2048,
    "ab" * 1024,
    "a" * 2047 + "b",
    "b" + "a" * 2047,
    "a" * 1024 + "b" + "a" * 1023,
    "ab+/" * 512,
]


def cost(times: int, secret: str, line: str) -> float:
    """Seconds of this process for secret and line `times` as long; the least of five tries."""
    redact, text = Redactor([secret * times]), line * times
    taken = []
    for _ in range(5):
        began = time.process_time()
        redact(text)
        redact.cut_off(text)
        taken.append(time.process_time() - began)
    return min(taken)


@pytest.mark.parametrize("line", [*SPREAD, SPREAD[1][:2001], "a" * 2046 + "c"])
@pytest.mark.parametrize("secret", SPREAD)
def test_s16_redacting_is_linear_in_line_and_secret(secret: str, line: str) -> None:
    """Of eight times as much, a quadratic search costs 64 times as much."""
    small, large = cost(1, secret, line * 4), cost(8, secret, line * 4)
    assert large < 24 * max(small, 1e-4)


@given(
    st.lists(st.text("ab", min_size=4, max_size=9), min_size=1, max_size=3),
    st.text("abc", max_size=60),
)
def test_s16_every_character_of_a_secret_is_masked_and_no_other(
    secrets: list[str], text: str
) -> None:
    secret = set()
    for each in {form for given_one in secrets for form in _spellings(given_one)}:
        for at in range(len(text)):
            if text.startswith(each, at):
                secret |= set(range(at, at + len(each)))
    expected = [c for at, c in enumerate(text) if at not in secret]
    assert list(Redactor(secrets)(text).replace(MASK, "")) == expected


@given(st.text("ab", min_size=4, max_size=12), st.text("ab", max_size=20))
def test_s16_the_longest_beginning_at_the_end_is_masked(secret: str, text: str) -> None:
    text = f"c{text.replace(secret, 'c')}c{text[:3]}"
    lengths = range(min(len(secret), len(text)), 3, -1)
    begun = next((n for n in lengths if text.endswith(secret[:n])), 0)
    expected = f"{text[: len(text) - begun]}{MASK}" if begun else text
    assert Redactor([secret]).cut_off(text) == expected
