"""`tailscale`, and the tailscaled that it talks to, for tests.

A script under the program's name runs it, as a real child process. The recordings say how the real
program behaves, and `test_standin.py` compares the two. It differs in one thing: it does not try
for two seconds to reach a daemon that is not there.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

import standin_daemon as tailscaled
from standin_daemon import HERE, USAGE, Flags, complain, fail, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POLL = 0.01


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


def main(arguments: list[str]) -> None:
    socket = "/var/run/tailscale/tailscaled.sock"
    with tailscaled.Daemon() as state:
        state["calls"].append(arguments)
        faults = state["faults"]
    if arguments[0].startswith("--socket="):
        socket = arguments.pop(0).partition("=")[2]
    command = " ".join(word for word in arguments if not word.startswith("-"))
    if command in faults.get("hang", []):
        time.sleep(3600)
    if command in faults.get("garbage", {}):
        say(faults["garbage"][command])
    elif arguments[0] == "version":
        say(tailscaled.as_json(tailscaled.version(state), "\t"), "")
    elif arguments[0] == "status":
        status(socket)
    elif arguments[1] == "status":
        serve_status(socket)
    elif arguments[1] == "reset":
        reset(arguments[0])
    else:
        serve(arguments[0], Flags(arguments[1:], arguments[0]))


def status(socket: str) -> None:
    with tailscaled.Daemon() as state:
        tailscaled.reach(state)
        document = dict(state["status"])
        if tailscaled.take(state, "starting"):
            document["BackendState"] = "Starting"
        if "revoked after status" in state["faults"]:
            left = state["faults"].pop("revoked after status")
            held = {"CapMap": dict.fromkeys(left), "Capabilities": left}
            state["status"]["Self"] = document["Self"] | held
    print(tailscaled.as_json(document), end="", flush=True)


def serve_status(socket: str) -> None:
    with tailscaled.Daemon() as state:
        if state["daemon"] != "up":
            why = (
                "no such file or directory" if state["daemon"] == "absent" else "connection refused"
            )
            fail(
                "getting serve config: Failed to connect to local Tailscale daemon for "
                f"/localapi/v0/serve-config; not running? Error: dial unix {socket}: connect: {why}"
            )
        tailscaled.warn_of_mismatch(state)
        served = state["serve"]
        if tailscaled.take(state, "lingering"):  # a session that the daemon has not yet forgotten
            served = {**served, "Foreground": {"0123456789abcdef": state["lingering"]}}
        if "Foreground" in served and tailscaled.take(state, "listed late"):
            served = {}
    say(tailscaled.as_json(served))


def reset(subcommand: str) -> None:
    with tailscaled.Daemon() as state:
        if state["status"]["BackendState"] == "NeedsLogin":
            refuse("netMap is nil")
        tailscaled.check_operator(state)
        state["serve"] = {}


def serve(subcommand: str, flags: Flags) -> None:
    if flags.port > 65535:
        fail(
            f"error: port number {flags.port} is too high for https flag",
            "",
            USAGE.format(subcommand),
        )
    with tailscaled.Daemon() as state:
        tailscaled.reach(state, "getting client status: ")
        tailscaled.check_logged_in(state["status"])
        held = tailscaled.capabilities(state)
        needed = (
            {"https", "funnel"} if subcommand == "funnel" else set() if flags.off else {"https"}
        )
        consent = state.get("consent")
        granted = state["faults"].get("granted")
    if not needed <= held and not granted:
        enable(subcommand, needed, held, consent)
    with tailscaled.Daemon() as state:
        held = tailscaled.capabilities(state)
    if subcommand == "funnel" and not granted and not any("funnel-ports" in cap for cap in held):
        fail("port 443 is not allowed for funnel")
    if flags.off:
        remove(subcommand, flags)
    elif flags.bg:
        keep(subcommand, flags)
    else:
        hold(subcommand, flags)


def enable(subcommand: str, needed: set[str], held: set[str], consent: str | None) -> None:
    """Ask the coordination server, which may answer nothing, a link, or a link to wait for."""
    if consent is None:
        if "https" not in held:
            fail("Funnel not available; HTTPS must be enabled. See https://tailscale.com/s/https.")
        fail(
            'Funnel not available; "funnel" node attribute not set. '
            "See https://tailscale.com/s/no-funnel."
        )
    link = f"https://login.tailscale.com/f/{subcommand}?node=nTESTCNTRL"
    intro = [f"{subcommand.capitalize()} is not enabled on your tailnet.", "To enable, visit:"]
    try:
        if consent != "in silence":
            say("", *intro, "", f"         {link}", "")
        if consent == "exit":
            sys.exit(0)
        while not needed <= held:
            time.sleep(POLL)
            with tailscaled.Daemon() as state:
                held = tailscaled.capabilities(state)
    except KeyboardInterrupt:
        fail(time.strftime("%Y/%m/%d %H:%M:%S lost connection to tailscaled: context canceled"))
    say("Success.")


def announcement(
    place: dict[str, Any], subcommand: str, flags: Flags, last: list[str]
) -> list[str]:
    where = "on the internet" if subcommand == "funnel" else "within your tailnet"
    lines = [f"Available {where}:", ""]
    (key, web), *_ = [(k, w) for k, w in place["Web"].items() if k.endswith(f":{flags.port}")]
    for path in sorted(web["Handlers"], key=len):
        url = "https://" + key.removesuffix(":443")
        lines += [f"{url}{path}", f"|-- proxy {web['Handlers'][path]['Proxy']}", ""]
    return [*lines, *last]


def keep(subcommand: str, flags: Flags) -> None:
    with tailscaled.Daemon() as state:
        if state["faults"].get("pretend"):
            return
        tailscaled.store(state, subcommand, flags)
        if tailscaled.in_use(state, flags.port, foreground=True):
            refuse(f"foreground listener already exists for port {flags.port}")
        tailscaled.mount(state["serve"], state, subcommand, flags)
        for path, target in state["faults"].pop("meanwhile", {}).items():
            key = f"{tailscaled.host_of(state)}:{flags.port}"
            state["serve"]["Web"][key]["Handlers"][path] = {"Proxy": target}
        lines = announcement(
            state["serve"],
            subcommand,
            flags,
            [
                f"{subcommand.capitalize()} started and running in the background.",
                f"To disable the proxy, run: tailscale {subcommand} --https={flags.port} off",
            ],
        )
    say(*lines)


def hold(subcommand: str, flags: Flags) -> None:
    """A foreground session: it ends with this process, however that ends."""
    session = os.urandom(8).hex()
    held = open(f"{HERE}/session-{session}", "w")  # noqa: SIM115 - held for life
    fcntl.flock(held, fcntl.LOCK_EX)
    print(os.getpid(), file=held, flush=True)
    try:
        live(session, subcommand, flags)
    except KeyboardInterrupt:
        sys.exit(0)


def live(session: str, subcommand: str, flags: Flags) -> None:
    place: dict[str, Any] = {}
    with tailscaled.Daemon() as state:
        faults = state["faults"]
        tailscaled.store(state, subcommand, flags)
        if any(tailscaled.in_use(state, flags.port, foreground=each) for each in (True, False)):
            refuse(f"listener already exists for port {flags.port}")
        tailscaled.mount(place, state, subcommand, flags)
        if not faults.get("unheld"):
            state["serve"].setdefault("Foreground", {})[session] = place
    say(*faults.get("says before", []))
    if not faults.get("mute"):
        say(*announcement(place, subcommand, flags, ["Press Ctrl+C to exit."]))
    say(*faults.get("says after", []))
    if faults.get("dies"):
        fail("unexpected EOF")
    while True:
        time.sleep(POLL)
        with tailscaled.Daemon() as state:
            if state["daemon"] in ("absent", "refused"):
                fail("unexpected EOF")
            gone = session not in state["serve"].get("Foreground", {})
            if state["daemon"] == "ended" or (gone and not faults.get("unheld")):
                sys.exit(0)


def remove(subcommand: str, flags: Flags) -> None:
    with tailscaled.Daemon() as state:
        served = state["serve"]
        key = f"{tailscaled.host_of(state)}:{flags.port}"
        handlers = served.get("Web", {}).get(key, {}).get("Handlers", {})
        if not handlers or (flags.path and flags.path not in handlers):
            complain("error: failed to remove web serve: handler does not exist", "")
            fail(USAGE.format(subcommand))
        tailscaled.store(state, subcommand, flags)
        for path in [flags.path] if flags.path else [*handlers]:
            del handlers[path]
        if not handlers:
            served.get("AllowFunnel", {}).pop(key, None)
            del served["Web"][key]
            del served["TCP"][str(flags.port)]
        for part in [part for part in served if not served[part]]:
            del served[part]
