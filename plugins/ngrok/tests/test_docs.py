"""The page about this backend is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prx_tunnel_ngrok.config import NgrokConfig, OAuthConfig, OidcConfig, WebhookConfig
from prx_tunnel_ngrok.reasons import RULES, Treatment, refusal_in

from prx_tunnel_core.config import ConfigModel

PAGE = (Path(__file__).parents[3] / "docs/backends/ngrok.md").read_text()


@pytest.mark.parametrize("model", [NgrokConfig, OAuthConfig, OidcConfig, WebhookConfig])
def test_every_key_is_described(model: type[ConfigModel]) -> None:
    for key in model.model_fields:
        assert f"`{key}`" in PAGE


def test_every_key_in_its_first_table_exists() -> None:
    table = PAGE.partition("## Keys of")[2].partition("There is no `region`")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(NgrokConfig.model_fields)


@pytest.mark.parametrize("treatment", Treatment)
def test_every_code_stands_in_its_row(treatment: Treatment) -> None:
    (row,) = re.findall(rf"^\| {treatment.name.lower()} \| (.*?) \|", PAGE, re.MULTILINE)
    ranges = re.findall(r"\b(\d+)(?:-(\d+))?\b", row)
    listed = {code for first, last in ranges for code in range(int(first), int(last or first) + 1)}
    known = {code for rule in RULES for code in rule.codes}
    assert listed == {code for code in known if treatment_of(code) is treatment}


def treatment_of(code: int) -> Treatment:
    refusal = refusal_in(f"ERR_NGROK_{code}")
    assert refusal is not None
    return refusal.treatment
