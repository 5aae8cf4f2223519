"""Every configuration in the documentation is valid, and every setting is in it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from prx_tunnel_custom.config import CustomConfig

from prx_tunnel_core.config import validate
from prx_tunnel_core.expansion import expand

PLUGIN = Path(__file__).parents[1]
MANUAL = PLUGIN.parents[1] / "docs" / "backends" / "custom.md"


def configurations(document: Path) -> list[str]:
    blocks = document.read_text(encoding="utf-8").split("```toml\n")[1:]
    whole = [block.partition("```")[0] for block in blocks]
    return [block for block in whole if "[tunnel.custom]" in block]


@pytest.mark.parametrize("document", [MANUAL, PLUGIN / "README.md"], ids=["manual", "README"])
def test_the_documented_configurations_are_valid(document: Path) -> None:
    if not document.exists():
        pytest.skip("the plugin was taken out of the project")
    tables = [tomllib.loads(text)["tunnel"]["custom"] for text in configurations(document)]
    assert tables
    for table in tables:
        expanded = expand(table, {"BORE_SECRET": "some-secret"}, path="tunnel.custom")
        assert isinstance(expanded, dict)
        validate(CustomConfig, expanded, path="tunnel.custom")


@pytest.mark.skipif(not MANUAL.exists(), reason="the plugin was taken out of the project")
def test_every_setting_has_its_row_in_the_manual() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    for name in CustomConfig.model_fields:
        assert f"\n| `{name}` |" in text
