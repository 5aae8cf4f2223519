"""Kill what a program started and then lost: descendants that left its group, known by its token.

On Linux, where one may read the environment of one's own processes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Set as AbstractSet

import anyio
from anyio.lowlevel import RunVar, checkpoint

from prx_tunnel_core._loop_local import loop_local
from prx_tunnel_core.process._reaper.procfs import (
    arguments,
    environment,
    processes,
    same_user,
    tokens_in,
)

_SLICE = 16  # processes looked at before others get their turn
_ROUNDS = 16
_PAUSE = 0.005  # seconds between rounds


class _Look:
    """One look at every process, for the tokens of all who ask before it begins."""

    def __init__(self) -> None:
        self.tokens: set[bytes] = set()
        self.over = anyio.Event()
        self.complete = False


class _Looks:
    """Those of one event loop: one at a time, for a thousand at once would each see a thousand."""

    def __init__(self) -> None:
        self.next = _Look()
        self.turn = anyio.Lock()


_looks: RunVar[_Looks] = RunVar("prx_tunnel_looks")


async def end_escaped(token: str) -> None:
    """Kill every process that carries the token, also those that left the group."""
    looks = _looks_here()
    complete = False
    while not complete:
        look = looks.next
        look.tokens.add(_bare(token))
        if len(look.tokens) == 1:
            await _take(look, looks)
        else:
            await look.over.wait()
        complete = look.complete  # not when it was cancelled under whoever took it


def end_escaped_at_once(token: str) -> None:
    """The same, where nothing can be awaited any more."""
    hunt = _Hunt({_bare(token)})
    for _ in range(_ROUNDS):
        if not sum(map(hunt.look_at, processes())):
            return
        time.sleep(_PAUSE)


def _looks_here() -> _Looks:
    return loop_local(_looks, _Looks)


async def _take(look: _Look, looks: _Looks) -> None:
    """Take the look that others may have joined, once the one before is over."""
    try:
        # Others get their turn here, too: who waits for the program's end hears of it first.
        async with looks.turn:
            looks.next = _Look()
            await _end_carriers(look.tokens)
            look.complete = True
    finally:
        if looks.next is look:
            looks.next = _Look()
        look.over.set()


async def _end_carriers(tokens: AbstractSet[bytes]) -> None:
    hunt = _Hunt(tokens)
    for _ in range(_ROUNDS):
        again = False
        for seen, pid in enumerate(processes()):
            again |= hunt.look_at(pid)
            if seen % _SLICE == _SLICE - 1:
                await checkpoint()
        if not again:
            return
        await anyio.sleep(_PAUSE)


class _Hunt:
    """For whoever carries one of these tokens."""

    def __init__(self, tokens: AbstractSet[bytes]) -> None:
        self._tokens = tokens
        self._blank: set[int] = set()

    def look_at(self, pid: int) -> bool:
        """Kill it if it is ours; whether everybody has to be looked at again.

        It may have forked meanwhile. Who has neither variables nor arguments is about to get them.
        """
        variables = environment(pid)
        if variables == b"" and pid not in self._blank:
            if not arguments(pid):
                self._blank.add(pid)  # once is enough for one that has erased its own
                return True
            variables = environment(pid)
        return self._are_ours(variables) and same_user(pid) and self._kill(pid)

    def _are_ours(self, variables: bytes | None) -> bool:
        return not self._tokens.isdisjoint(tokens_in(variables or b""))

    def _kill(self, pid: int) -> bool:
        if sys.platform != "linux":
            return False
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return False
        try:
            # Asked again now that the handle holds this very process: by the time of a signal, its
            # number alone could be another's.
            if not (self._are_ours(environment(pid)) and same_user(pid)):
                return True  # what it is now shows at the next look
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except OSError:
            return False
        finally:
            os.close(handle)
        return True


def _bare(token: str) -> bytes:
    return token.rstrip(";").encode()
