"""The stand-in's tailscaled: what it knows, and what it refuses.

It stands in `state.json` beside the program; a lock lets in one client at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
USAGE = "try `tailscale {} --help` for usage info"


@contextmanager
def daemon() -> Iterator[dict[str, Any]]:
    """What tailscaled knows; changes are kept. One client at a time."""
    with open(f"{HERE}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(f"{HERE}/state.json") as file:
            state = json.load(file)
        forget_ended_sessions(state)
        before = json.dumps(state)
        yield state
        if json.dumps(state) != before:
            with open(f"{HERE}/state.new", "w") as file:
                json.dump(state, file)
            os.replace(f"{HERE}/state.new", f"{HERE}/state.json")


def forget_ended_sessions(state: dict[str, Any]) -> None:
    """A session lives as long as its program holds its connection: here, a lock."""
    foreground = state["serve"].get("Foreground", {})
    for name in [*foreground]:
        try:
            with open(f"{HERE}/session-{name}") as held:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        except FileNotFoundError:
            continue  # made by a test: somebody else's
        del foreground[name]
    if not foreground:
        state["serve"].pop("Foreground", None)


def complain(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def fail(*lines: str, code: int = 1) -> NoReturn:
    complain(*lines)
    sys.exit(code)


def take(state: dict[str, Any], fault: str) -> bool:
    """Whether this fault is to happen now; some happen a number of times."""
    times = state["faults"].get(fault, 0)
    if times and times is not True:
        state["faults"][fault] = times - 1
    return bool(times)


def version(state: dict[str, Any]) -> dict[str, Any]:
    number = state["version"]
    full = f"{number}-ERR-BuildInfo"
    return {"majorMinorPatch": number, "short": full, "long": full, "cap": 133}


def warn_of_mismatch(state: dict[str, Any]) -> None:
    ours = version(state)["long"]
    if state["faults"].get("mismatch"):
        theirs = state["status"]["Version"]
        complain(f'Warning: client version "{ours}" != tailscaled server version "{theirs}"')


def reach(state: dict[str, Any], prefix: str = "") -> None:
    if state["daemon"] != "up":
        fail(
            f"{prefix}failed to connect to local tailscaled; it doesn't appear to be running "
            "(sudo systemctl start tailscaled ?)"
        )
    warn_of_mismatch(state)


class Flags:
    def __init__(self, arguments: list[str], subcommand: str) -> None:
        self.bg = "--bg" in arguments
        self.port, self.path, self.words = 443, "", []
        for word in arguments:
            name, _, value = word.partition("=")
            if name == "--https":
                self.port = int(value)
            elif name == "--set-path":
                self.path = value
            elif name not in ("--bg", "--yes") and name.startswith("-"):
                fail(f"flag provided but not defined: {name[1:]}", code=2)
            elif not name.startswith("-"):
                self.words.append(word)
        if len(self.words) > 1:
            fail(
                "Error: the CLI for serve and funnel has changed.",
                "Please see https://tailscale.com/kb/1242/tailscale-serve for more information.",
                USAGE.format(subcommand),
            )
        self.off = self.words == ["off"]
        target = self.words[0]
        self.target = f"http://127.0.0.1:{target}" if target.isdigit() else target


def capabilities(state: dict[str, Any]) -> set[str]:
    return set(state["status"]["Self"].get("CapMap") or {})


def check_logged_in(document: dict[str, Any]) -> None:
    says = {
        "NeedsLogin": "Logged out.",
        "Stopped": "Tailscale is stopped.",
        "NeedsMachineAuth": "Machine is not yet approved by tailnet admin.",
    }.get(document["BackendState"])
    if says and document["AuthURL"]:
        fail(says, f"Log in at: {document['AuthURL']}")
    if says:
        fail(says)


def host_of(state: dict[str, Any]) -> str:
    return str(state["status"]["Self"]["DNSName"].removesuffix("."))


def store(state: dict[str, Any], subcommand: str, flags: Flags) -> None:
    """What the daemon does with a changed configuration before it takes it."""
    if take(state, "etag"):
        fail(
            "Another client is changing the serve config; please try again.",
            "sending serve config: Preconditions failed: etag mismatch",
        )
    check_operator(state)
    if state["faults"].get("shields") and subcommand == "funnel" and not flags.off:
        refuse("Unable to turn on Funnel while shields-up is enabled")


def check_operator(state: dict[str, Any]) -> None:
    if state["faults"].get("denied"):
        fail(
            "sending serve config: Access denied: serve config denied",
            "",
            f"Use 'sudo tailscale {' '.join(sys.argv[1:])}'.",
            "To not require root, use 'sudo tailscale set --operator=$USER' once.",
        )


def refuse(reason: str) -> NoReturn:
    fail(f"sending serve config: updating config: {reason}")


def in_use(state: dict[str, Any], port: int, *, foreground: bool) -> bool:
    served = state["serve"]
    places = list(served.get("Foreground", {}).values()) if foreground else [served]
    return any(str(port) in place.get("TCP", {}) for place in places)


def mount(place: dict[str, Any], state: dict[str, Any], subcommand: str, flags: Flags) -> None:
    key = f"{host_of(state)}:{flags.port}"
    place.setdefault("TCP", {})[str(flags.port)] = {"HTTPS": True}
    handlers = place.setdefault("Web", {}).setdefault(key, {}).setdefault("Handlers", {})
    handlers[flags.path or "/"] = {"Proxy": flags.target}
    if subcommand == "funnel":
        place.setdefault("AllowFunnel", {})[key] = True
    elif place.get("AllowFunnel", {}).pop(key, None):
        complain(f"Removing Funnel for {key}")
        if not place["AllowFunnel"]:
            del place["AllowFunnel"]
