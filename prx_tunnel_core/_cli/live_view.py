"""The view of a foreground `start` on a terminal: the URL to copy, and a live status line."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.views import ERROR, WARNING, describe, exposure
from prx_tunnel_core._control.render import of_attempts
from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.models import Connected, Failed, Reconnecting, TunnelStatus, state_of
from prx_tunnel_core.text import printable_lines

_STYLES = {WARNING: "yellow", ERROR: "red"}


class LiveView:
    """Past events are printed above and scroll away; the last line shows the current state.

    The URL is printed and not part of the live line, which is cut at the terminal's width: a URL
    that is cut or framed cannot be copied.
    """

    def __init__(self, config: TunnelConfig) -> None:
        self._config = config
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._status: TunnelStatus | None = None
        self._since = time.monotonic()
        self._url = ""
        self._live = Live(
            console=self._console,
            get_renderable=self._now,
            refresh_per_second=2,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def show(self, status: TunnelStatus) -> None:
        self._status, self._since = status, time.monotonic()
        if isinstance(status, Failed):
            return  # the command reports the reason on stderr at its end
        level, text = describe(status, self._config)
        self._print(f"[{level}] {text}", _STYLES.get(level, ""))
        if isinstance(status, Connected) and status.info.public_url != self._url:
            self._url = status.info.public_url
            self._show_url(self._url)

    def note(self, line: str) -> None:
        self._print(line, "yellow")

    def _show_url(self, url: str) -> None:
        self._print("")
        self._print(url, "bold")
        self._print("")
        public = exposure(url, self._config)
        if public:
            self._print(f"[{WARNING}] {public}", _STYLES[WARNING])

    def _print(self, text: str, style: str = "") -> None:
        try:
            # With soft wrapping, the terminal breaks long lines and joins them again on copying.
            self._console.print(Text(printable_lines(text), style=style), soft_wrap=True)
        except OSError:  # the terminal is gone; SIGHUP decides whether the tunnel is closed
            streams.give_up()

    def _now(self) -> Text:
        status, passed = self._status, time.monotonic() - self._since
        if status is None:
            return Text("")
        state = state_of(status)
        if isinstance(status, Reconnecting):
            attempt = of_attempts(status.attempt, self._config.reconnect.max_attempts)
            state += f": attempt {attempt} in {max(0.0, status.retry_in - passed):.0f} s"
        else:
            state += f" for {_duration(passed)}"
        line = Text(f"{state} (press Ctrl-C to stop)", no_wrap=True)
        # Leaves room for the terminal's ^C, whose line break would leave this line behind.
        line.truncate(max(1, self._console.width - 2), overflow="ellipsis")
        return line


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
