"""`prx tunnel doctor`: check this machine for problems, and say how to fix them."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.command import add_tunnel_options, tunnel_overrides

if TYPE_CHECKING:
    from prx_tunnel_core._cli.command import Commands
    from prx_tunnel_core.models import Check

_MARKS = {"ok": "ok  ", "fail": "FAIL", "unknown": "?   "}


def register(tunnel: Commands) -> None:
    parser = tunnel.add_parser(
        "doctor",
        help="check this machine for problems, and say how to fix them",
        description=(
            "Check this machine for problems, and say how to fix them. "
            "Exits with 1 if a check fails."
        ),
    )
    add_tunnel_options(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    import anyio

    from prx_tunnel_core._control import runtime_dir

    runtime_dir.check_name(options.name)
    checks = anyio.run(_examine, options, backend="asyncio")
    failed = [check for check in checks if check.verdict == "fail"]
    if options.json:
        import json
        from dataclasses import asdict

        found = [asdict(check) for check in checks]
        report = {"verdict": "fail" if failed else "ok", "checks": found}
        streams.write(f"{json.dumps(report)}\n")
    else:
        total = f"{len(failed)} of {len(checks)} checks failed" if failed else "all checks passed"
        streams.write(f"{total}\n")
    return 1 if failed else 0


async def _examine(options: Namespace) -> list[Check]:
    from prx_tunnel_core._doctor import examine

    checks = []
    given = tunnel_overrides(options)
    async for check in examine(options.config, name=options.name, overrides=given):
        checks.append(check)
        if not options.json:
            _print(check)
    return checks


def _print(check: Check) -> None:
    """Print a check as soon as it is done: some take seconds."""
    from prx_tunnel_core.text import one_line

    first, *others = [one_line(line) for line in check.detail.splitlines()] or [""]
    streams.write(f"{_MARKS[check.verdict]}  {one_line(check.name):<16} {first}\n")
    for line in others:
        streams.write(f"{'':<23}{line}\n")
