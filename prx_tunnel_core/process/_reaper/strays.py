"""Kill the descendants of a program that left its process group, known by its token; Linux only."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet

import anyio
from anyio.lowlevel import RunVar, checkpoint

from prx_tunnel_core._loop_local import loop_local
from prx_tunnel_core.process._reaper import sweep
from prx_tunnel_core.process._reaper.tokens import bare, tokens_in

PASSES = 16  # more only help a program that forks faster than it is killed
PAUSE = 0.005  # seconds between two passes
AT_ONCE = 0.5  # seconds that the event loop may be blocked


class _Search:
    """One search of all processes, for the tokens of all tasks that ask before it begins."""

    def __init__(self) -> None:
        self.tokens: set[bytes] = set()
        self.over = anyio.Event()
        self.complete = False


class _Searches:
    """Those of one event loop: one at a time, as a thousand at once would each see a thousand."""

    def __init__(self) -> None:
        self.next = _Search()
        self.turn = anyio.Lock()


_searches: RunVar[_Searches] = RunVar("prx_tunnel_searches")


async def end_strays(token: str) -> None:
    """Kill every process that carries the token, in whatever process group."""
    searches = _searches_here()
    complete = False
    while not complete:
        search = searches.next
        search.tokens.add(bare(token.encode()))
        if len(search.tokens) == 1:
            await _run(search, searches)
        else:
            await search.over.wait()
        complete = search.complete  # not when the task that ran it was cancelled


def end_strays_at_once(token: str) -> None:
    """The same without awaiting, where the event loop has to be blocked."""
    sweep.kill(_carries_one_of({bare(token.encode())}), patience=AT_ONCE)


def _searches_here() -> _Searches:
    return loop_local(_searches, _Searches)


async def _run(search: _Search, searches: _Searches) -> None:
    """Run a search that other tasks may have joined, once the one before is over."""
    try:
        # Other tasks run here, too: those that wait for the program hear of its end first.
        async with searches.turn:
            searches.next = _Search()
            await _end_carriers(search.tokens)
            search.complete = True
    finally:
        if searches.next is search:
            searches.next = _Search()
        search.over.set()


async def _end_carriers(tokens: AbstractSet[bytes]) -> None:
    passes = 0
    for passed in sweep.passes(_carries_one_of(tokens)):
        passes += passed
        if passes == PASSES:
            return
        await (anyio.sleep(PAUSE) if passed else checkpoint())


def _carries_one_of(tokens: AbstractSet[bytes]) -> Callable[[bytes], bool]:
    return lambda variables: not tokens.isdisjoint(tokens_in(variables))
