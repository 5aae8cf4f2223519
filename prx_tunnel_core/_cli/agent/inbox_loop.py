"""`prx start` without a command: an inbox that prints what arrives, so that one sees it work."""

from __future__ import annotations

import anyio

from prx_tunnel_core._cli.agent import inbox
from prx_tunnel_core._cli.agent.command import Plan
from prx_tunnel_core._cli.agent.run import tunnel_of
from prx_tunnel_core._cli.signals import StopSignals
from prx_tunnel_core._cli.start import leave_no_core
from prx_tunnel_core._cli.views import View, write
from prx_tunnel_core._control.render import local
from prx_tunnel_core._health.marks import MARK, take_mark
from prx_tunnel_core.errors import TunnelError, unwrap_group
from prx_tunnel_core.text import one_line

SHOWN = 2000  # characters of a body
SHOWN_LINES = 30
LONGEST_PATH = 500  # characters
LONGEST_NAME = 100  # characters of a method or a content type


def run_inbox(plan: Plan, view: View) -> int:
    """Serve until a signal asks to stop."""
    stop = StopSignals()
    stop.install()
    leave_no_core()
    return anyio.run(_serve, plan, view, stop, backend="asyncio")


async def _serve(plan: Plan, view: View, stop: StopSignals) -> int:
    config = plan.job.config.tunnel
    where = local(config)
    try:
        async with inbox.listen(None, show, host=config.local_host, port=config.local_port):
            write(f"[INFO] No command to run: an inbox at http://{where} prints what arrives\n")
            with unwrap_group():
                async with tunnel_of(plan, view):
                    await stop.wait()
    except OSError as error:
        raise TunnelError(
            f"the inbox cannot listen at {where}: {error.strerror or error}; if that is your "
            "agent, open a tunnel to it with: prx tunnel start"
        ) from None
    return 0


def show(webhook: inbox.Webhook) -> None:
    """Strangers wrote all of it: nothing of it may move a cursor or fill the screen."""
    if take_mark(webhook.headers.get(MARK, "")):
        return  # a health check of ours
    method, path = _cut(webhook.method, LONGEST_NAME), _cut(webhook.path, LONGEST_PATH)
    kind = _cut(webhook.headers.get("content-type", "no content type"), LONGEST_NAME)
    body = webhook.body.decode("utf-8", "replace")
    lines = body[:SHOWN].splitlines()
    shown = [f"{method} {path} ({kind}, {len(webhook.body)} bytes)"]
    shown += [f"  {each}" for each in lines[:SHOWN_LINES]]
    if len(body) > SHOWN or len(lines) > SHOWN_LINES:
        shown.append("  …")
    write("".join(f"{one_line(each)}\n" for each in shown))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
