"""Loggers whose records are text, whatever a visitor, a program or an exception put into them.

`get_logger` instead of `logging.getLogger`: the host chooses the handlers, so the text has to be
harmless before a handler sees it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from prx_tunnel_core.text import INDENT, printable_lines


def get_logger(name: str) -> logging.Logger:
    """The logger of that name; no record of it controls a terminal or contains a forged record."""
    logger = logging.getLogger(name)
    logger.addFilter(_make_printable)  # once: a logger does not keep a filter twice
    return logger


class PrintableFormatter(logging.Formatter):
    """For a handler of ours, which also gets the records of other libraries."""

    def __init__(
        self, fmt: str, datefmt: str | None = None, *, redact: Callable[[str], str] = str
    ) -> None:
        super().__init__(fmt, datefmt)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        text = printable_lines(self._redact(super().format(record)), indent=INDENT)
        return self._redact(text)  # again, for a secret in which there was something to remove


def _make_printable(record: logging.LogRecord) -> bool:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - the handler reports a message that cannot be formatted
        return True
    shown = printable_lines(text, indent=INDENT)
    if shown != text:  # else the template and its arguments stay, by which some hosts group records
        record.msg, record.args = shown, ()
    if record.exc_info and not record.exc_text:
        traceback = logging.Formatter().formatException(record.exc_info)
        record.exc_text = INDENT + printable_lines(traceback).replace("\n", f"\n{INDENT}")
    return True
