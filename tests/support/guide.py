"""The pages for authors, and the files that they show whole: a path, and below it a block."""

from __future__ import annotations

import re
from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (_DOCS / "writing-a-backend.md").read_text(encoding="utf-8")
HOOKS = (_DOCS / "hooks.md").read_text(encoding="utf-8")

_FILE = re.compile(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)


def files(page: str) -> dict[str, str]:
    return dict(_FILE.findall(page))


def write(page: str, folder: Path) -> None:
    for path, text in files(page).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
