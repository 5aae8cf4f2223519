"""What this process holds, so that what a backend left behind can be told."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping

import anyio

from prx_tunnel_core.testing._place import Place

# Pools of the event loops: a thread that ran something waits there for the next.
_POOLED = ("Trio thread", "AnyIO worker thread", "asyncio_")


def held(place: Place) -> dict[str, set[str]]:
    """By kind: descriptors, threads, tasks of the running loop, and files in that place."""
    threads = [t for t in threading.enumerate() if not t.name.startswith(_POOLED)]
    return {
        "descriptors": _descriptors(),
        "threads": {f"{thread.name} {thread.ident}" for thread in threads},
        "tasks": {f"{task.name} {task.id}" for task in anyio.get_running_tasks()},
        "files": {str(path) for path in place.files()},
    }


def grown(before: Mapping[str, set[str]], place: Place) -> str:
    """What there is more of by now, in words; empty when nothing is."""
    more = _more(before, held(place))
    if any(more.values()):
        gc.collect()  # only what is still referred to is a leak
        more = _more(before, held(place))
    return "; ".join(f"{kind}: {', '.join(new)}" for kind, new in more.items() if new)


def _more(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> dict[str, list[str]]:
    return {kind: sorted(after[kind] - before[kind]) for kind in before}


def host() -> dict[str, object]:
    """What belongs to the whole process, and so to everybody in it."""
    root = logging.getLogger()
    handlers = {each.name: signal.getsignal(each) for each in signal.Signals}
    return {
        "the environment": dict(os.environ),
        "the working directory": os.getcwd(),
        "signal handlers": {name: repr(handler) for name, handler in handlers.items()},
        "the root logger": (root.level, [repr(each) for each in root.handlers]),
        "sys.path": list(sys.path),
        "exception hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
    }


def _descriptors() -> set[str]:
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # the directory that was read
        found.add(f"{name} ({status.st_dev}, inode {status.st_ino})")
    return found
