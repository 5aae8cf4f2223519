from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cloudflare_kit.installed import StandIn
from prx_tunnel_cloudflare import diagnose as module
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.diagnose import diagnose

pytestmark = pytest.mark.anyio

Configure = Callable[..., CloudflareConfig]


async def verdicts(config: CloudflareConfig) -> dict[str, tuple[str, str]]:
    return {check.name: (check.verdict, check.detail) for check in await diagnose(config)}


async def test_all_is_well(stand_in: StandIn, configure: Configure, token: str) -> None:
    found = await verdicts(configure(token=token))
    assert found["cloudflared"] == ("ok", f"{stand_in.program}, version 2026.8.2")
    assert found["credentials"] == ("ok", "the token has the right form")
    assert found["other configuration"][0] == "ok"
    assert not stand_in.runs


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (
            "cloudflared version 2022.9.1 (built 2022-09-29-1530 UTC)",
            "but 2022.12.0 or newer is",
        ),
        ("ngrok version 3.39.1", "is not cloudflared: `--version` printed"),
        ("DEV", "is not cloudflared: `--version` printed"),
    ],
)
async def test_another_program(
    stand_in: StandIn, configure: Configure, version: str, words: str
) -> None:
    stand_in.plan({"version": version})
    verdict, detail = (await verdicts(configure()))["cloudflared"]
    assert verdict == "fail"
    assert words in detail


async def test_a_program_that_never_answers(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    program = tmp_path / "cloudflared"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    found = await verdicts(configure(program=str(program)))
    assert found["cloudflared"] == (
        "fail",
        f"{program} did not answer `--version` within 0.2 s; check that it is cloudflared",
    )
    assert found["credentials"][0] == "ok"


async def test_a_program_that_floods(configure: Configure, tmp_path: Path) -> None:
    program = tmp_path / "cloudflared"
    program.write_text("#!/bin/sh\nhead -c 30000000 /dev/zero | tr '\\0' 'x'\n")
    program.chmod(0o755)
    verdict, detail = (await verdicts(configure(program=str(program))))["cloudflared"]
    assert (verdict, str(program) in detail) == ("fail", True)
    assert len(detail) < 1000


async def test_nothing_there(configure: Configure, tmp_path: Path) -> None:
    config = configure(program=str(tmp_path / "cloudflared"), token_file=str(tmp_path / "token"))
    found = await verdicts(config)
    assert "install cloudflared" in found["cloudflared"][1]
    assert "token_file" in found["credentials"][1]
    assert {found[name][0] for name in ("cloudflared", "credentials")} == {"fail"}


async def test_a_file_of_the_user_is_named(configure: Configure, tmp_path: Path) -> None:
    path = tmp_path / "home" / ".cloudflared" / "config.yml"
    path.parent.mkdir()
    path.write_text("tunnel: other")
    verdict, detail = (await verdicts(configure()))["other configuration"]
    assert verdict == "ok"
    assert detail == f"{path} will not be used"
