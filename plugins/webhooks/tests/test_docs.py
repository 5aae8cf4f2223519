"""Every configuration in the documentation is valid, and every setting has its row."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from prx_tunnel_webhooks.config import KINDS, WebhooksConfig
from prx_tunnel_webhooks.template import Request

from prx_tunnel_core.config import Settings, validate
from prx_tunnel_core.expansion import expand

PLUGIN = Path(__file__).parents[1]
MANUAL = PLUGIN.parents[1] / "docs" / "webhooks.md"


@pytest.mark.parametrize("document", [MANUAL, PLUGIN / "README.md"], ids=["manual", "README"])
def test_the_documented_configurations_are_valid(document: Path) -> None:
    if not document.exists():
        pytest.skip("the plugin was taken out of the project")
    blocks = document.read_text(encoding="utf-8").split("```toml\n")[1:]
    for block in blocks:
        text = block.partition("```")[0]
        environ = dict.fromkeys(re.findall(r"\$\{([A-Z_]+)\}", text), "some-secret")
        tables = tomllib.loads(text)["webhooks"]
        expanded = expand(tables, environ, path="webhooks")
        assert isinstance(expanded, dict)
        validate(WebhooksConfig, expanded, path="webhooks")
    assert blocks


@pytest.mark.skipif(not MANUAL.exists(), reason="the plugin was taken out of the project")
def test_every_setting_has_its_row_in_the_manual() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    models: list[type[Settings]] = [*KINDS.values(), Request]
    for model in models:
        for name in model.model_fields:
            assert f"\n| `{name}` |" in text, (model, name)
    for kind in KINDS:
        assert f'`"{kind}"`' in text
