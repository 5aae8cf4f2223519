"""The program itself: found, bounded, and asked in the right order."""

from __future__ import annotations

from pathlib import Path

import pytest
from prx_tunnel_tailscale import prx_tunnel_backends
from prx_tunnel_tailscale.config import TailscaleConfig
from prx_tunnel_tailscale.diagnose import diagnose
from prx_tunnel_tailscale.program import Tailscale, document
from tailscale_standin import StandIn, web

from prx_tunnel_core import AnyBackend, Backend, ConnectError, ProgramNotFound, SetupError
from prx_tunnel_core.programs import CommandOutput


def test_the_plugin_yields_its_backend() -> None:
    (backend,) = prx_tunnel_backends()
    assert isinstance(backend, AnyBackend)
    assert isinstance(backend, Backend)
    assert (backend.name, backend.program) == ("tailscale", "tailscale")
    assert backend.config is TailscaleConfig


def test_a_program_that_is_missing_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ProgramNotFound, match=r"https://tailscale\.com/download"):
        Tailscale.of(TailscaleConfig(program=str(tmp_path / "tailscale")))


def test_the_app_of_macos_is_found_when_nothing_is_on_path(
    node: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr("prx_tunnel_tailscale.program._MAC_APP", str(node.program))
    found = Tailscale.of(TailscaleConfig())
    assert found.program == str(node.program)
    assert found.environment == {"TAILSCALE_BE_CLI": "1"}
    with pytest.raises(ProgramNotFound):
        Tailscale.of(TailscaleConfig(program="tailscale2"))


def test_the_socket_is_a_flag_of_the_program_not_of_a_command() -> None:
    tailscale = Tailscale("/usr/bin/tailscale", "/run/t.sock")
    assert tailscale.command("status") == ["/usr/bin/tailscale", "--socket=/run/t.sock", "status"]


def test_the_document_is_found_among_warnings() -> None:
    warning = 'Warning: client version "1.102.3" != tailscaled server version "1.96.0"'
    lines = ("", warning, "{", '  "a": 1,', warning, '  "b": {}', "}", warning)
    assert document(CommandOutput(0, lines)).split() == ["{", '"a":', "1,", '"b":', "{}", "}"]
    assert document(CommandOutput(0, (warning, "null"))) == "null"


@pytest.mark.anyio
async def test_a_program_that_hangs_is_given_up(
    node: StandIn,
) -> None:
    node.fault(hang=["version"])
    with pytest.raises(ConnectError) as caught:
        await Tailscale.of(node.config(), patience=0.2).version()
    assert str(caught.value) == (
        f"{node.program} did not answer `version --json` within 0.2 s; check that it is tailscale"
    )


@pytest.mark.anyio
async def test_an_answer_without_end_is_cut(node: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prx_tunnel_core.programs.LARGEST_OUTPUT", 1000)
    node.fault(garbage={"status": "\n".join(["{", *['  "a": 1,'] * 10_000])})
    with pytest.raises(ConnectError, match="status --json"):
        await Tailscale.of(node.config()).node()


@pytest.mark.anyio
async def test_a_program_that_is_something_else_is_told(node: StandIn) -> None:
    node.fault(garbage={"version": "tailscale 3.0, a knitting machine"})
    with pytest.raises(SetupError, match=r"is not tailscale: .*a knitting machine"):
        await Tailscale.of(node.config()).version()


@pytest.mark.anyio
async def test_a_diagnosis_of_a_node_that_is_ready(node: StandIn) -> None:
    checks = await diagnose(node.config())
    assert [(check.name, check.verdict) for check in checks] == [
        (name, "ok") for name in ("program", "node", "control", "permission", "port")
    ]
    assert node.changes() == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("change", "step", "says"),
    [
        ({"version": "1.44.0"}, "program", "1.52.0 or newer is required"),
        ({"daemon": "absent"}, "node", "not running"),
        ({"consent": "wait"}, "permission", "shows the link where an admin enables it"),
    ],
)
async def test_a_diagnosis_ends_at_the_first_step_that_fails(
    change: dict[str, str], step: str, says: str, node: StandIn
) -> None:
    if "consent" in change:
        node.allow()
    with node.edit() as state:
        state |= change
    *before, last = await diagnose(node.config())
    assert (last.name, last.verdict) == (step, "fail")
    assert says in last.detail
    assert {check.verdict for check in before} <= {"ok"}
    assert node.changes() == []


@pytest.mark.anyio
async def test_a_diagnosis_names_the_program_that_never_answers(
    node: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prx_tunnel_tailscale.diagnose.PATIENCE", 0.2)
    node.fault(hang=["version"])
    (check,) = await diagnose(node.config())
    assert (check.name, check.verdict) == ("program", "fail")
    assert check.detail.startswith(f"{node.program} did not answer `version --json` within 0.2 s")


@pytest.mark.anyio
async def test_a_diagnosis_survives_a_flood(tmp_path: Path) -> None:
    program = tmp_path / "tailscale"
    program.write_text("#!/bin/sh\nhead -c 30000000 /dev/zero | tr '\\0' 'x'\n")
    program.chmod(0o755)
    (check,) = await diagnose(TailscaleConfig(program=str(program)))
    assert (check.name, check.verdict) == ("program", "fail")
    assert len(check.detail) < 1000


@pytest.mark.anyio
async def test_a_diagnosis_leaves_open_whose_the_port_is(node: StandIn) -> None:
    node.serve(web("/"))
    *_, last = await diagnose(node.config())
    assert (last.name, last.verdict) == ("port", "unknown")
    assert "/ -> http://127.0.0.1:3000" in last.detail


@pytest.mark.anyio
async def test_a_diagnosis_without_the_program(tmp_path: Path) -> None:
    (check,) = await diagnose(TailscaleConfig(program=str(tmp_path / "no")))
    assert (check.name, check.verdict) == ("program", "fail")
