"""The subcommands that query or stop a running tunnel: `prx tunnel status`, `health`, `stop`.

There is one for each operation of the control socket. Scripts and shell prompts run them often, so
they skip argparse and json, and print the reply as it is.
"""

from __future__ import annotations

from prx_tunnel_core._cli import streams
from prx_tunnel_core._cli.command import add_name_option
from prx_tunnel_core._control import client, runtime_dir
from prx_tunnel_core._control.operations import NEGATIVE, OPERATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from prx_tunnel_core._cli.command import Commands


def quickly(arguments: list[str]) -> int | None:
    """The exit code; None for arguments that only argparse can handle."""
    if len(arguments) < 2 or arguments[0] != "tunnel" or arguments[1] not in OPERATIONS:
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
    for op, operation in OPERATIONS.items():
        summary = operation.summary
        description = f"{summary[0].upper()}{summary[1:]}."
        parser = tunnel.add_parser(op, help=summary, description=description)
        add_name_option(parser)
        parser.add_argument("--json", action="store_true", help="print a JSON object")
        parser.set_defaults(parser=parser, run=_run, op=op)


def exit_codes() -> str:
    """The lines of the help text that explain the exit codes of these subcommands."""
    negative = [f"{each.negative} ({op})" for op, each in OPERATIONS.items() if each.negative]
    return (
        f"  {client.NOT_RUNNING}  not running ({', '.join(OPERATIONS)})\n"
        f"  {NEGATIVE}  {', '.join(negative)}\n"
    )


def _run(options: Namespace) -> int:
    form = "json" if options.json else "text"
    return _ask(options.op, runtime_dir.check_name(options.name), form)
