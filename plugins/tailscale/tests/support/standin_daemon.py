"""The stand-in's tailscaled: what it knows, and what it refuses.

It stands in `state` in the program's folder; a lock lets in one client at a time.
"""

from __future__ import annotations

# Thousands of these programs are started: json, contextlib, signal or typing would each take longer
# to import than all the rest takes.
import fcntl
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(sys.argv[0]))
USAGE = "try `tailscale {} --help` for usage info"


class Daemon:
    """What tailscaled knows, from its file; changes are kept. One client at a time."""

    def __init__(self, folder: str = HERE) -> None:
        self.folder = folder

    def __enter__(self) -> dict[str, Any]:
        self.lock = open(f"{self.folder}/lock", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        with open(f"{self.folder}/state", "rb") as file:
            kept = file.read()
        self.before = marshal.loads(kept)
        state: dict[str, Any] = marshal.loads(kept)
        forget_ended_sessions(state, self.folder)
        self.state = state
        return state

    def __exit__(self, *_: object) -> None:
        if self.state != self.before:
            write_state(self.folder, marshal.dumps(self.state))
        self.lock.close()


def write_state(folder: str, state: bytes) -> None:
    with open(f"{folder}/state.new", "wb") as file:
        file.write(state)
    os.replace(f"{folder}/state.new", f"{folder}/state")


def as_json(value: object, indent: str = "  ", margin: str = "") -> str:
    """The value the way Go writes it."""
    inner = margin + indent
    if isinstance(value, dict) and value:
        items = [f"{as_json(key)}: {as_json(item, indent, inner)}" for key, item in value.items()]
    elif isinstance(value, list) and value:
        items = [as_json(item, indent, inner) for item in value]
    elif isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        plain = repr(value)
        return {"None": "null", "True": "true", "False": "false"}.get(plain, plain)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    lines = f",\n{inner}".join(items)
    return f"{opening}\n{inner}{lines}\n{margin}{closing}"


def forget_ended_sessions(state: dict[str, Any], folder: str) -> None:
    """A session lives as long as its program holds its connection: here, a lock."""
    foreground = state["serve"].get("Foreground", {})
    for name in [*foreground]:
        try:
            with open(f"{folder}/session-{name}") as held:
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
