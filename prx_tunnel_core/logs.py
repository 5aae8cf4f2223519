"""Loggers whose records are printable, whatever a visitor or a program has put into them.

Use `get_logger` instead of `logging.getLogger`. The host application chooses the handlers, so the
text has to be harmless before a handler gets it.

    logger = get_logger(__name__)
    logger.info("the program printed %s", line)
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from prx_tunnel_core.text import INDENT, printable_lines


def get_logger(name: str) -> logging.Logger:
    """The logger of that name, whose records cannot control a terminal or forge another record."""
    logger = logging.getLogger(name)
    logger.addFilter(_make_printable)  # a logger keeps the same filter once
    return logger


class PrintableFormatter(logging.Formatter):
    """A formatter that makes the records of all libraries printable, and redacts them.

    `redact` is called with each formatted record; see `text.Redactor`.
    """

    def __init__(
        self, fmt: str, datefmt: str | None = None, *, redact: Callable[[str], str] = str
    ) -> None:
        super().__init__(fmt, datefmt)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        text = printable_lines(self._redact(super().format(record)), indent=INDENT)
        return self._redact(text)  # again, for a secret that escapes had interrupted


def _make_printable(record: logging.LogRecord) -> bool:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - the handler reports a message that cannot be formatted
        return True
    shown = printable_lines(text, indent=INDENT)
    if shown != text:  # else keep template and arguments: some hosts group records by them
        record.msg, record.args = shown, ()
    if record.exc_info and not record.exc_text:
        traceback = logging.Formatter().formatException(record.exc_info)
        record.exc_text = INDENT + printable_lines(traceback).replace("\n", f"\n{INDENT}")
    return True
