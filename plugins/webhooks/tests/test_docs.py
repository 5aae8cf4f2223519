"""Every configuration in the documentation is valid, and every setting has its row."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import a2wsgi
import pytest
from flask import Flask
from prx_tunnel_webhooks.config import KINDS, WebhooksConfig
from prx_tunnel_webhooks.template import Request
from webhook_kit.django_site import site
from webhook_kit.posting import post
from webhook_kit.signing import BODY, SECRET, sign_github

from prx_tunnel_core.config import ConfigModel, validate
from prx_tunnel_core.expansion import expand

PLUGIN = Path(__file__).parents[1]
MANUAL = PLUGIN.parents[1] / "docs" / "webhooks.md"
TEXT = MANUAL.read_text(encoding="utf-8") if MANUAL.exists() else ""


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


EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT.partition("## Verifying")[2], re.DOTALL)
GUARDING = [code for code in EXAMPLES if "RouteGuard" in code or "VerifiedWebhooks" in code]


@pytest.mark.parametrize("code", GUARDING, ids=range(len(GUARDING)))
def test_the_guards_of_the_manual_work(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WEBHOOK_SECRET", SECRET)
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    app = site(*names["urlpatterns"]) if "urlpatterns" in names else names["app"]
    if isinstance(app, Flask):
        app = a2wsgi.WSGIMiddleware(app)  # type: ignore[arg-type]
    body = b'{"ref": "refs/heads/main"}'
    headers = {"Content-Type": "application/json"}
    assert post(app, headers, body) == 401
    status = post(app, {**headers, **sign_github(body)}, body)
    assert status == (200 if "RouteGuard" in code else 404)  # that application has no route


def test_the_function_of_the_manual_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WEBHOOK_SECRET", SECRET)
    (code,) = [code for code in EXAMPLES if "verify.Rejected" in code]
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["status_of"](sign_github(), BODY) == 200
    assert names["status_of"]({}, BODY) == 401


@pytest.mark.skipif(not MANUAL.exists(), reason="the plugin was taken out of the project")
def test_every_setting_has_its_row_in_the_manual() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    models: list[type[ConfigModel]] = [*KINDS.values(), Request]
    for model in models:
        for name in model.model_fields:
            assert f"\n| `{name}` |" in text, (model, name)
    for kind in KINDS:
        assert f'`"{kind}"`' in text
