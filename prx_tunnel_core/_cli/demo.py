"""`prx tunnel demo`: deliver a webhook through a tunnel that reconnects, and show each step."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.command import add_config_option

if TYPE_CHECKING:
    from prx_tunnel_core._cli.command import Commands
    from prx_tunnel_core._cli.demo_scenario import Step

DEFAULT_BACKEND = "ssh"


def register(tunnel: Commands) -> None:
    parser = tunnel.add_parser(
        "demo",
        help="deliver a webhook through a tunnel, cut the connection, deliver another",
        description=(
            "Start a small agent, open a tunnel to it, deliver a signed webhook, cut the "
            "connection, wait for the reconnect, deliver another webhook, and clean up. Without "
            "--backend, the tunnel uses an SSH relay inside this process, which needs neither an "
            "account nor network access."
        ),
    )
    parser.add_argument(
        "--backend", metavar="B", help="backend to use, as set up in the configuration"
    )
    add_config_option(parser)
    parser.add_argument(
        "--json", action="store_true", help="print a JSON object with the steps and their times"
    )
    parser.set_defaults(parser=parser, run=_run)


def _run(options: Namespace) -> int:
    import logging

    import anyio

    from prx_tunnel_core._cli.demo_scenario import Scenario

    # Without a handler, Python would print the log's warnings between the steps.
    logging.getLogger().addHandler(logging.NullHandler())
    scenario = Scenario(_config(options), _ignore if options.json else _print)
    problem = anyio.run(scenario.run, backend="asyncio")
    if options.json:
        import json

        steps = [step.to_json() for step in scenario.steps]
        report = {"ok": not problem, "problem": problem, "seconds": scenario.seconds}
        streams.write(f"{json.dumps({**report, 'steps': steps})}\n")
    elif not problem:
        streams.write(f"Demo completed in {scenario.seconds:.1f} s.\n")
    if problem:
        streams.complain(f"prx: the demo failed: {problem}")
    return 1 if problem else 0


def _config(options: Namespace) -> dict[str, object]:
    """The tunnel's configuration: from the user's file only if --backend or --config is given."""
    if options.backend is None and options.config is None:
        return {"backend": DEFAULT_BACKEND}
    from prx_tunnel_core._configfile import load

    overrides = {"backend": options.backend} if options.backend else {}
    tunnel = load(options.config, overrides=overrides).tunnel
    return {"backend": tunnel.backend, tunnel.backend: dict(tunnel.table(tunnel.backend))}


def _print(step: Step) -> None:
    streams.write(f"{step.at:6.2f} s  {step.name:<16} {step.detail}\n")


def _ignore(step: Step) -> None:
    """With --json, all steps are printed at the end."""
