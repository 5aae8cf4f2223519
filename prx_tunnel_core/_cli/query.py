"""`prx tunnel status`, `health` and `stop`: ask a running tunnel, and print the reply as it came.

Scripts and prompts call these often. So they import next to nothing: no argparse, no json, nothing
of the standard library that costs more than it does here.
"""

from __future__ import annotations

from prx_tunnel_core._cli import streams
from prx_tunnel_core._control import client, runtime_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from prx_tunnel_core._cli.parser import Commands

_SUMMARIES = {
    "status": "show whether the tunnel is connected, and its public URL",
    "health": "check the tunnel now: process, provider, local port, public URL",
    "stop": "stop the tunnel, wherever it runs, and wait until it has stopped",
}


def quickly(arguments: list[str]) -> int | None:
    """The exit code; None when this is not one of the usual forms, and argparse has to look."""
    if len(arguments) < 2 or arguments[0] != "tunnel" or arguments[1] not in client.OPS:
        return None
    name, form = "default", "text"
    rest = iter(arguments[2:])
    for argument in rest:
        if argument == "--json":
            form = "json"
        elif argument == "--name":
            name = next(rest, "")
        elif argument.startswith("--name="):
            name = argument[7:]
        else:
            return None
    return _ask(arguments[1], name, form) if runtime_dir.is_name(name) else None


def _ask(op: str, name: str, form: str) -> int:
    reply = client.call(op, name, form)
    if reply.answered:
        streams.write(reply.text)
    else:
        streams.complain(f"prx: {reply.text.rstrip()}")
    return reply.code


def register(tunnel: Commands) -> None:
    for op in client.OPS:
        parser = tunnel.add_parser(op, help=_SUMMARIES[op], description=f"{_SUMMARIES[op]}.")
        parser.add_argument("--name", default="default", help="which tunnel (default: default)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.set_defaults(parser=parser, run=_run, op=op)


def _run(options: Namespace) -> int:
    form = "json" if options.json else "text"
    return _ask(options.op, runtime_dir.check_name(options.name), form)
