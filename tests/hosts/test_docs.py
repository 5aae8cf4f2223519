"""What docs/hosts.md and docs/security.md show exists, and the tables say what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from prx_tunnel_cloudflare.connection import CloudflareConnection
from prx_tunnel_tailscale.connect import VISITOR_HEADERS

from prx_tunnel_core._cli.agent.process import FORWARDED, NOT_EXECUTABLE, NOT_FOUND
from prx_tunnel_core._cli.agent.run import FILE_VARIABLE, URL_VARIABLE
from prx_tunnel_core.models import VisitorHeaders

DOCS = Path(__file__).parents[2] / "docs"
HOSTS = (DOCS / "hosts.md").read_text(encoding="utf-8")
SECURITY = (DOCS / "security.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", HOSTS + SECURITY, re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=range(len(EXAMPLES)))
def test_what_an_example_imports_is_there(code: str) -> None:
    tree = ast.parse(code)
    imports: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), "example", "exec"))


@pytest.mark.parametrize(
    ("backend", "headers"),
    [
        ("cloudflare", CloudflareConnection.visitor_headers),
        ("tailscale", VISITOR_HEADERS),
    ],
)
def test_the_table_of_headers(backend: str, headers: VisitorHeaders) -> None:
    (row,) = [line for line in SECURITY.splitlines() if line.startswith(f"| `{backend}`")]
    assert all(f"`{name}`" in row.lower() for name in headers.always)


def test_what_an_agent_finds_and_gets() -> None:
    names = [number.name.removeprefix("SIG") for number in FORWARDED]
    for word in (URL_VARIABLE, FILE_VARIABLE, str(NOT_FOUND), str(NOT_EXECUTABLE), *names):
        assert word in HOSTS
