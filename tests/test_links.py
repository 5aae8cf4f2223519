"""Each link of a Markdown page leads to a file that exists, and to a heading of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/*.md", "examples/**/*.md")
    for page in ROOT.glob(pattern)
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
)


def prose(page: Path) -> str:
    """The text without blocks of code, in which brackets and number signs mean other things."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page).lower(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        file, _, anchor = target.partition("#")
        other = page.parent / file if file else page
        if not re.match(r"[a-z]+:", target) and (
            not other.exists() or (anchor and anchor not in anchors(other))
        ):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    page, other = tmp_path / "a.md", tmp_path / "b.md"
    other.write_text("# Files & `programs`\n```\n# no heading\n```\n")
    page.write_text(
        "# Here\n[1](b.md#files--programs) [2](#here) [3](https://a.example/#x) [4](b.md)\n"
        "[5](c.md) [6](b.md#no-heading) [7](#there)\n"
    )
    assert broken(page) == ["c.md", "b.md#no-heading", "#there"]
