"""Draw `docs/images/demo.svg`: a terminal in which `prx tunnel demo` has just run.

    uv run python docs/images/terminal.py

The picture is made from a real run in a pseudo-terminal, so it shows what a user sees.
"""

from __future__ import annotations

import io
import os
import pty
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMAND = ("tunnel", "demo")
COLUMNS = 120
PICTURE = Path(__file__).with_name("demo.svg")

# Rich refers to fonts on a server; the reader's own monospace font will do.
_FONT_FACE = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


def run() -> str:
    """What `prx tunnel demo` prints to a terminal; raises SystemExit when it fails."""
    said = bytearray()

    def read(terminal: int) -> bytes:
        data = os.read(terminal, 65536)
        said.extend(data)
        return data

    status = pty.spawn([sys.executable, "-m", "prx_tunnel_core", *COMMAND], read)
    if status:
        raise SystemExit(f"prx {' '.join(COMMAND)} failed: {status}")
    return said.decode().replace("\r\n", "\n")


def draw(output: str) -> str:
    """The terminal as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ prx {' '.join(COMMAND)}", style="bold"))
    console.print(Text.from_ansi(output))
    return _FONT_FACE.sub("", console.export_svg(title="prx tunnel demo"))


if __name__ == "__main__":
    PICTURE.write_text(draw(run()), encoding="utf-8")
