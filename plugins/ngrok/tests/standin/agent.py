"""`ngrok http`, `ngrok version` and `ngrok config check`, as far as the plan goes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from pathlib import Path
from typing import Any, NoReturn

from .page import serve
from .words import REFUSALS, log, say, some_id

HOST = "abcd-203-0-113-7.ngrok-free.app"
SESSION = "tunnels.session"


class Agent:
    def __init__(self, folder: Path, plan: dict[str, Any], arguments: list[str]) -> None:
        self.folder = folder
        self.plan = plan
        self.v2 = plan["dialect"] == 2
        self.arguments = arguments
        self.id = some_id()
        self.connected = False
        self.tunnels: dict[str, dict[str, Any]] = {}
        self.files = [path for path in self.option("--config").split(",") if path]
        self.texts = [Path(path).read_text() for path in self.files if os.path.exists(path)]
        self.token = os.environ.get("NGROK_AUTHTOKEN") or self.setting("authtoken")

    def option(self, name: str, default: str = "") -> str:
        if name in self.arguments:
            return self.arguments[self.arguments.index(name) + 1]
        return default

    def setting(self, key: str) -> str:
        """Of several files the last that has the key counts."""
        found = [re.search(rf"^\s*{key}:\s*(\S+)", text, re.MULTILINE) for text in self.texts]
        values = [match[1].strip("\"'") for match in found if match]
        return values[-1] if values else ""

    def begin(self) -> None:
        for path in self.files:
            error = "<nil>" if os.path.exists(path) else f"open {path}: no such file or directory"
            log("info", "open config file", err=error, path=path)
            if error != "<nil>":
                say("")
                say(f"ERROR:  Error reading configuration file '{path}': {error}")
                os._exit(1)
        self.open_page()

    def open_page(self) -> None:
        wanted = self.setting("web_addr")
        if wanted == "false":
            if self.v2:
                text = "ignoring inspect: true because inspection database is disabled"
                log("warn", text, name="command_line")
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address = wanted or f"127.0.0.1:{self.plan['port']}"
        try:
            listener.bind(parsed(address))
        except OSError:
            if wanted:
                self.fail(f"listen tcp {address}: bind: address already in use")
            text = "can't bind default web address, trying alternatives"
            log("warn", text, addr=address, obj="web")
            address = f"127.0.0.1:{self.plan['port'] + 1}"
            listener.bind(parsed(address))
        listener.listen()
        fields = {} if self.v2 else {"allow_hosts": None}
        log("info", "starting web service", addr=address, obj="web", **fields)
        threading.Thread(target=serve, args=(self, listener), daemon=True).start()

    def fail(self, error: str) -> NoReturn:
        log("crit", "command failed", err=error)
        for line in error.replace("\r\n", "\n").split("\n"):
            say(line if self.v2 else f"ERROR:  {line}")
        os._exit(1)

    def refusal(self, code: str, prefix: str = "") -> str:
        text = REFUSALS.get(code, "No, and this is why not.")
        text = text.format(token=self.token, version=self.plan["version"])
        return ("" if self.v2 else prefix) + f"{text}\r\n\r\nERR_NGROK_{code}\r\n"

    def announce(self, name: str, address: str, url: str) -> None:
        quoted = name.replace(" ", "%20").replace("(", "%28").replace(")", "%29")
        entry: dict[str, Any] = {"name": name, "uri": f"/api/tunnels/{quoted}", "public_url": url}
        if not self.v2:
            entry["ID"] = some_id(32)
        config = {"addr": address, "inspect": True}
        self.tunnels[name] = entry | {"proto": url.split(":", maxsplit=1)[0], "config": config}
        # Said once it is so: whoever reads the line asks the interface.
        log("info", "started tunnel", addr=address, name=name, obj="tunnels", url=url)

    # The steps of a plan.

    def connect(self) -> None:
        self.resume()
        where = self.arguments[1]
        address = where if "://" in where else f"http://localhost:{where}"
        if self.v2:
            self.announce("command_line (http)", address, f"http://{HOST}")
        self.announce("command_line", address, self.option("--url", f"https://{HOST}"))

    def resume(self) -> None:
        """A session, at first or again; when again, nothing is announced."""
        self.connected = True
        established = {"id": self.id, "obj": "csess" if self.v2 else SESSION}
        if not self.v2:
            log("info", "client session established", **established)
        log("info", "tunnel session started", obj=SESSION)
        if self.v2:
            log("info", "client session established", **established)

    def lose(self, error: str) -> None:
        self.connected = False
        text = "session closed, starting reconnect loop"
        log("eror", text, err=error, id=self.id, obj="csess" if self.v2 else SESSION)

    def retry(self, error: str) -> None:
        obj = "csess" if self.v2 else SESSION
        log("eror", "failed to reconnect session", err=error, id=self.id, obj=obj)

    def retry_refused(self, code: str) -> None:
        error = self.refusal(code, "authentication failed: ")
        if self.v2:
            log("eror", "failed to auth", err=error, obj=SESSION)
        self.retry(error)

    def refuse_auth(self, code: str) -> None:
        self.retry_refused(code)
        self.close(self.refusal(code, "authentication failed: "), accepting=False)

    def refuse_bind(self, code: str) -> None:
        self.resume()
        self.close(self.refusal(code, "failed to start tunnel: "), accepting=True)

    def close(self, error: str, *, accepting: bool) -> None:
        log("eror", "session closing", err=error, obj=SESSION)
        log("info", "received stop request", obj="app", stopReq={})
        log("eror", "terminating with error", err=error, obj="app")
        if accepting:
            lost = "reconnecting session closed"
            log("info", "accept failed", err=lost, id=self.id, obj="csess")
        self.fail(error)

    def heartbeat(self) -> None:
        text = "heartbeat timeout, terminating session"
        log("eror", text, clientid=some_id(), id=some_id(), obj="csess")

    def visitor(self) -> None:
        """A request comes in, and nothing listens on the local port."""
        where = self.arguments[1].split("://")[-1]
        where = where if ":" in where else f"localhost:{where}"
        error = f"dial tcp 127.0.0.1:{where.rpartition(':')[2]}: connect: connection refused"
        log("warn", "failed to open private leg", err=error, id=some_id(), privaddr=where)

    def remote_stop(self) -> None:
        log("info", "received remote stop", obj=SESSION)
        stop()

    def print(self, text: str) -> None:
        say(text)

    def complain(self, text: str) -> None:
        say(text, stream=2)

    def gate(self, name: str) -> None:
        """Go on when the test says so."""
        with (self.folder / name).open("rb", buffering=0) as fifo:
            fifo.read(1)

    def tell(self, name: str) -> None:
        """Let the test know that all up to here is done."""
        with (self.folder / name).open("wb", buffering=0) as fifo:
            fifo.write(b".")

    def ignore_term(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def freeze(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def exit(self, code: int) -> None:
        os._exit(code)


def stop(*_: object) -> None:
    log("info", "received stop request", obj="app", stopReq={})
    log("info", "session closing", err="<nil>", obj=SESSION)
    os._exit(0)


def parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def note_run(folder: Path, arguments: list[str]) -> int:
    """Leave what this run was given, under the first free number, and return that number."""
    files = {}
    for argument in arguments:
        for path in filter(os.path.isfile, argument.split(",")):
            mode = oct(os.stat(path).st_mode & 0o777)
            files[path] = {"mode": mode, "text": Path(path).read_text()}
    seen = {"argv": arguments, "env": dict(os.environ), "files": files, "pid": os.getpid()}
    number = len(list((folder / "runs").iterdir()))
    (folder / "runs" / str(number)).write_text(json.dumps(seen))
    return number


def note_call(folder: Path, arguments: list[str]) -> None:
    """Leave what a short command was given."""
    with (folder / "calls.jsonl").open("a") as file:
        file.write(json.dumps({"argv": arguments, "env": dict(os.environ)}) + "\n")


def http(folder: Path, plan: dict[str, Any], arguments: list[str]) -> NoReturn:
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    number = note_run(folder, arguments)
    agent = Agent(folder, plan, arguments)
    agent.begin()
    for step in plan["runs"][min(number, len(plan["runs"]) - 1)]:
        name, *rest = [step] if isinstance(step, str) else step
        getattr(agent, name)(*rest)
    while True:
        signal.pause()


def main(program: str, arguments: list[str]) -> None:
    folder = Path(program).resolve().parent
    plan = json.loads((folder / "plan.json").read_text())
    if arguments[:1] != ["http"]:
        note_call(folder, arguments)
    match arguments:
        case ["version"]:
            say(plan.get("says", f"ngrok version {plan['version']}"))
        case ["config", "check", *_]:
            code, lines = plan["check"]
            for line in lines:
                say(line)
            os._exit(code)
        case ["http", *_]:
            http(folder, plan, arguments)
        case _:
            say(f"ERROR:  Unrecognized command: {' '.join(arguments)}")
            os._exit(1)
