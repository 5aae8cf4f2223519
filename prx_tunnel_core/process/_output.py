"""Bytes of a program, cut into lines of bounded length."""

from __future__ import annotations

LONGEST_LINE = 64 * 1024  # bytes
CUT = b" [...]"


class LineCutter:
    """Cuts a stream into lines; one that is too long is cut short and marked, never misread.

    Its rest is dropped up to the line end: taken as a line of its own, it could be made to look
    like an announcement.
    """

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._begun = bytearray()
        self._overlong = False

    def feed(self, chunk: bytes, *, most: int | None = None) -> list[bytes]:
        """The lines that the chunk completes; at most the last `most` of them when given.

        With `most`, a flood costs a search from the end instead of a list of all its lines.
        """
        pieces = chunk.split(b"\n") if most is None else chunk.rsplit(b"\n", most + 1)
        if len(pieces) == 1:
            self._begin(chunk)
            return []
        first, *middle, last = pieces
        if most is not None and len(middle) == most:
            self._forget()
            lines = []
        else:
            lines = [self._finish(first)]
        lines += [self._cut(line) for line in middle]
        self._begin(last)
        return lines

    def end(self) -> list[bytes]:
        """What was begun when the stream ended: without a line end, but complete."""
        return [self._finish(b"")] if self._begun else []

    def _begin(self, piece: bytes) -> None:
        room = self._longest - len(self._begun)
        self._overlong |= len(piece) > room
        self._begun += piece[:room]

    def _finish(self, piece: bytes) -> bytes:
        self._begin(piece)
        line = bytes(self._begun) + (CUT if self._overlong else b"")
        self._forget()
        return line

    def _forget(self) -> None:
        self._begun.clear()
        self._overlong = False

    def _cut(self, line: bytes) -> bytes:
        return line if len(line) <= self._longest else line[: self._longest] + CUT
