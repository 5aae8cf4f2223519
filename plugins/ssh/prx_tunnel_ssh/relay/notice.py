"""The session of a guest, which only prints the URLs of its web sites."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import asyncssh
from typing_extensions import override

_MOST_URLS = 64
_MOST_UNREAD = 16 * 1024


class Notice(asyncssh.SSHServerSession[bytes]):
    """Accepts no command, subsystem or terminal; input is dropped."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._urls = list(urls)
        self._started = False
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None

    @override
    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    @override
    def shell_requested(self) -> bool:
        return True  # the only request for which the client of OpenSSH shows the output

    @override
    def session_started(self) -> None:
        self._started = True
        for url in self._urls:
            self._print(url)

    def announce(self, url: str) -> None:
        """Print a URL as soon as the session has started."""
        if self._started:
            self._print(url)
        elif len(self._urls) < _MOST_URLS:
            self._urls.append(url)

    def _print(self, url: str) -> None:
        """Print the URL, unless the guest does not read earlier ones."""
        channel = self._channel
        if channel is not None and channel.get_write_buffer_size() < _MOST_UNREAD:
            with suppress(OSError):  # it has closed the session a moment ago
                channel.write(f"{url}\r\n".encode())

    @override
    def eof_received(self) -> bool:
        return True  # the tunnel stays open when the guest closes its input

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._channel = None
