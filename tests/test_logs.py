"""What our loggers pass on, whatever handler the host has chosen."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prx_tunnel_core.logs import PrintableFormatter, get_logger
from prx_tunnel_core.text import one_line, printable_lines

ROOT = Path(__file__).parents[1]

FOREIGN = {
    "a line feed": "/x\nCRITICAL forged",
    "a carriage return": "/x\rCRITICAL forged",
    "both": "/x\r\nCRITICAL forged",
    "a window title": "/x\x1b]0;owned\x07",
    "an escape in 8 bits": "/x\x9d0;owned\x9c\x9b2J",
    "next line": "/x\x85CRITICAL forged",
    "line and paragraph separators": "/x\u2028CRITICAL forged\u2029CRITICAL forged",
    "separators of ASCII": "/x\x1c\x1d\x1e\x0b\x0cCRITICAL forged",
    "overrides and isolates": "/\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069x",
    "zero width": "/a\u200bd\u200cm\u200di\u2060n\ufeff\xad",
    "tags": "/x\U000e0001\U000e0041\U000e007f",
    "variation selectors and fillers": "/x\ufe0f\U000e0100\u3164\uffa0\u115f\u180e",
    "lone surrogates": "/x\ud800\udfff",
    "delete and backspace": "/x\x7f\x08\x08",
}
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufe0f\ufeff"
    "\u3164\uffa0\u115f\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a host sees that did no more than `logging.basicConfig`."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)


def raised(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        get_logger("prx_tunnel_core").exception("it failed")


WAYS: dict[str, Callable[[str], None]] = {
    "an argument": lambda text: get_logger("prx_tunnel_core").warning("refused %s", text),
    "an error": lambda text: get_logger("prx_tunnel_core").warning("no: %s", ValueError(text)),
    "a path": lambda text: get_logger("prx_tunnel_x").warning("no %s", Path(text)),
    "the message": lambda text: get_logger("prx_tunnel_x").error(text.replace("%", "%%")),
    "a traceback": raised,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_s14_no_record_is_forged_in_a_hosts_log(
    log: io.StringIO, way: Callable[[str], None], text: str
) -> None:
    way(text)
    written = log.getvalue()
    assert not FORBIDDEN.search(written)
    first, *others = written.splitlines()
    assert first.startswith(("WARNING:prx_tunnel_", "ERROR:prx_tunnel_"))
    assert all(line.startswith("    ") for line in others)


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_s14_nor_by_another_library_in_a_log_of_ours(text: str) -> None:
    record = logging.LogRecord("httpx", logging.INFO, __file__, 1, "%s", (text,), None)
    written = PrintableFormatter("2026-01-31T12:00:00Z %(levelname)s %(message)s").format(record)
    assert not FORBIDDEN.search(written)
    first, *others = written.splitlines()
    assert first.startswith("2026-01-31T12:00:00Z INFO /")
    assert all(line.startswith("    ") for line in others)


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_s14_one_line_hides_nothing_that_stood_before(text: str) -> None:
    assert one_line(text).startswith("/")
    assert not FORBIDDEN.search(one_line(text))
    assert "\n" not in one_line(text)


def test_a_record_with_nothing_foreign_keeps_its_template(
    caplog: pytest.LogCaptureFixture,
) -> None:
    get_logger("prx_tunnel_core").warning("port %d of %s", 80, "here")
    assert [(each.msg, each.args) for each in caplog.records] == [("port %d of %s", (80, "here"))]


def test_an_argument_that_cannot_be_shown_raises_nothing(log: io.StringIO) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        get_logger("prx_tunnel_core").warning("%s", Broken())
    finally:
        logging.raiseExceptions = before
    assert log.getvalue() == ""


def test_lines_that_were_made_printable_twice_are_as_after_the_first_time() -> None:
    once = printable_lines("one\ntwo\n    three\n\rfour", indent="    ")
    assert once == "one\n    two\n        three\n     four"
    assert printable_lines(once, indent="    ") == once


def test_s14_every_logger_of_ours_is_made_by_get_logger() -> None:
    own = re.compile(r"logging\.getLogger\((?!\)|\"httpx\")")
    sources = [
        *(ROOT / "prx_tunnel_core").rglob("*.py"),
        *(ROOT / "plugins").glob("*/prx_tunnel_*/**/*.py"),
    ]
    found = {path.name for path in sources if own.search(path.read_text(encoding="utf-8"))}
    assert found == {"logs.py", "daemon.py"}  # the latter sets levels only


def test_a_formatter_of_ours_has_a_text_and_a_way_to_write_times() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "said %s", ("\x1b[31mred",), None)
    formatter = PrintableFormatter("%(asctime)s %(message)s", "%Y!")
    assert re.fullmatch(r"\d{4}! said red", formatter.format(record))
