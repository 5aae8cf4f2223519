"""Tell plugins what happens to a tunnel: one after the other, each with a deadline, none in power.

A hook can neither alter, block nor break the tunnel or another plugin; what it does wrong is logged
with the name and version of its distribution.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Iterable, Mapping
from functools import partial

import anyio

from prx_tunnel_core._isolation import ForeignError, call_in_thread, contain
from prx_tunnel_core._plugins.loading import LoadedPlugin
from prx_tunnel_core.logs import get_logger

logger = get_logger(__name__)

DEADLINE = 5.0  # seconds for one plugin's hook


async def notify(
    plugins: Iterable[LoadedPlugin],
    hook: str,
    arguments: Mapping[str, object],
    *,
    deadline: float = DEADLINE,
) -> None:
    """Call the hook of each plugin that implements it; never raises but when cancelled.

    With nobody to tell, it does not even yield to the event loop.
    """
    for plugin in plugins:
        if not plugin.implements(hook):
            continue
        try:
            await contain(partial(_call, plugin, hook, arguments), deadline=deadline)
        except ForeignError as error:
            _log(plugin, hook, error)


async def _call(plugin: LoadedPlugin, hook: str, arguments: Mapping[str, object]) -> None:
    if plugin.is_async(hook):
        results = plugin.call(hook, arguments)
    else:
        results = await _call_in_thread(plugin, hook, arguments)
    for result in results:
        # Also what a plain function returned: a decorator hides that there is a coroutine inside.
        if inspect.isawaitable(result):
            await result


async def _call_in_thread(
    plugin: LoadedPlugin, hook: str, arguments: Mapping[str, object]
) -> list[object]:
    if not plugin.returned.is_set():
        # Otherwise each event would leave one more thread behind in the same place.
        raise ForeignError("skipped: an earlier call has still not returned")
    returned = threading.Event()

    def call() -> list[object]:
        try:
            return plugin.call(hook, arguments)
        finally:
            returned.set()

    try:
        return await call_in_thread(call)
    except anyio.get_cancelled_exc_class():
        plugin.returned = returned
        raise


def _log(plugin: LoadedPlugin, hook: str, error: ForeignError) -> None:
    traceback = error.__cause__ if logger.isEnabledFor(logging.DEBUG) else None
    logger.warning("%s: %s: %s", plugin.label, hook, error, exc_info=traceback)
