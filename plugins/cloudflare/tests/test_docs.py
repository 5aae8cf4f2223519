"""The documentation names every key, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prx_tunnel_cloudflare.access import AccessMiddleware
from prx_tunnel_cloudflare.config import AccessConfig, CloudflareConfig

PAGE = Path(__file__).parents[3] / "docs" / "backends" / "cloudflare.md"
BLOCKS = {
    kind: re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for kind in ("toml", "python")
}


@pytest.mark.parametrize("key", [*CloudflareConfig.model_fields, *AccessConfig.model_fields])
def test_every_key_is_there(key: str) -> None:
    assert f"`{key}`" in PAGE.read_text()


@pytest.mark.parametrize("name", ["protocol", "grace_period", "connect_timeout", "program"])
def test_defaults_are_the_real_ones(name: str) -> None:
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    default = CloudflareConfig().__getattribute__(name)
    shown = f'"{default}"' if isinstance(default, str) else str(default)
    assert row.split("|")[2].strip() == f"`{shown}`"


def test_the_example_runs(tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text("\n".join(BLOCKS["toml"]))
    path.chmod(0o600)
    monkeypatch.setenv("PRX_CONFIG", str(path))
    monkeypatch.setenv("CLOUDFLARE_TUNNEL_TOKEN", token)
    names = {"app": object()}
    exec(BLOCKS["python"][0], names)
    assert isinstance(names["app"], AccessMiddleware)
