"""The stand-in's main program."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from cloudflare_kit import recordings
from cloudflare_kit.recordings import Action, Line
from cloudflare_kit.stand_in.arguments import Call, Usage, understand
from cloudflare_kit.stand_in.server import MetricsServer
from cloudflare_kit.stand_in.state import State

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_CONNECTOR = re.compile(r"Generated Connector ID: ([0-9a-f-]{36})")
_METRICS = re.compile(r"Starting metrics server on (127\.0\.0\.1:\d+)")
_SIGNALS = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}
_EVER = 86_400.0

QUICK = ("c01-quick-success-quic-text", 0)
NAMED = ("c02-named-token-success-auto-text", 0)
LOCAL = ("c03-token-locally-managed-url", 0)


@dataclass
class Order:
    """Something to do, from a signal or from the test."""

    what: str
    body: str
    done: threading.Event


class Program:
    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.number = _next_number(folder)
        self.plan = _plan(folder, self.number)
        self.orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self.replaced: dict[str, str] = {}
        self.begun = False

    def main(self, words: list[str]) -> NoReturn:
        # As a Go program: a closed pipe kills, and a hang-up too.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._record(words)
        try:
            call = understand(list(words))
        except Usage as usage:
            _write(usage.stream, str(usage))
            os._exit(usage.code)
        self._play(call)

    def _play(self, call: Call) -> NoReturn:
        default = QUICK if call.quick else NAMED if call.token else LOCAL
        # Over HTTP/2, a plan may play something else: so does the real program.
        protocol = call.setting("protocol", "TUNNEL_TRANSPORT_PROTOCOL", "quic")
        name, index = self.plan.get(f"play {protocol}") or self.plan.get("play") or default
        self.run = recordings.runs(name)[index]
        self.call = call
        rules = call.config.get("ingress")
        self.state = State(
            call.setting("url", "TUNNEL_URL"), rules if isinstance(rules, list) else []
        )
        self.state.hostname = self.plan.get("hostname", "") if call.quick else ""
        self.state.refused_as = self.plan.get("refused as", "server_error")
        self.events = iter(self.run.events)
        self._advance()
        if self.run.exit_code is not None and not self._has_signal():
            self._exit(self.plan.get("exit", self.run.exit_code))
        while True:
            self._obey(self.orders.get())

    def _advance(self) -> None:
        """Play up to the next point where the test, or a signal, has a say."""
        skipping = False
        for event in self.events:
            if isinstance(event, Action):
                skipping = False
                if event.name.startswith("SIG") or self.plan.get("stops"):
                    return
                continue
            skipping |= bool(self.plan.get("without")) and self.plan["without"] in event.text
            if not skipping:
                self._say(event)

    def _say(self, line: Line) -> None:
        self._hold(line.text)
        if match := _CONNECTOR.search(line.text):
            self.replaced[match[1]] = self.state.connector
            for each in _SIGNALS:
                signal.signal(each, self._signalled)
            signal.signal(signal.SIGQUIT, lambda *_: os._exit(2))
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        elif match := _METRICS.search(line.text):
            self._serve(match[1])
        self.state.follow(line.text)
        self._print(1 if line.stream == "O" else 2, line.text)
        for text in self.plan.get("spoof", ()) if not self.begun else ():
            _write(2, text)
        self.begun = True

    def _print(self, stream: int, text: str) -> None:
        text = _TIME.sub(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), text)
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        _write(stream, text)

    def _serve(self, recorded: str) -> None:
        wanted = self.call.setting("metrics", "TUNNEL_METRICS", "127.0.0.1:0")
        try:
            server = MetricsServer(int(wanted.rpartition(":")[2]), self._answer, self._ordered)
        except OSError:
            reason = f"listen tcp {wanted}: bind: address already in use"
            text = f"failed to bind to address ({wanted}): {reason}"
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            _write(2, f'{now} ERR Error opening metrics server listener error="{text}"')
            _write(2, f"Error opening metrics server listener: {text}")
            self._exit(1)
        self.replaced[recorded] = f"127.0.0.1:{server.port}"

    def _answer(self, path: str) -> tuple[int, str] | None:
        self._note(f"GET {path}")
        answers = self.plan.get("answers", {})
        if path in answers:
            return 200, str(answers[path])
        if self.plan.get("silent"):
            time.sleep(_EVER)
        return self.state.answer(path)

    def _ordered(self, what: str, body: str) -> None:
        order = Order(what, body, threading.Event())
        self.orders.put(order)
        order.done.wait()

    def _signalled(self, number: int, frame: object) -> None:
        """The first asks to end in order; the handler is gone then, so that a second one kills."""
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self.state.stopping = True
        self._note(signal.Signals(number).name)
        self.orders.put(Order("stop", _SIGNALS[signal.Signals(number)], threading.Event()))

    def _obey(self, order: Order) -> None:
        if order.what == "stop":
            self._stop(order.body)
        elif order.what == "next":
            self._advance()
        elif order.what == "drop":
            self.state.connections.clear()
        elif order.what == "connect":
            self.state.connections.add(0)
        elif order.what == "say":
            self.state.follow(order.body)
            _write(2, order.body)
        elif order.what == "push":
            self.state.push(json.loads(order.body), self.state.version + 1)
        elif order.what == "exit":
            order.done.set()
            self._exit(int(order.body))
        order.done.set()

    def _stop(self, name: str) -> NoReturn:
        texts = self._last_lines()
        first = texts.pop(0) if texts else Line("E", f"Initiating graceful shutdown ({name}) ...")
        self._say(Line("E", first.text.replace("signal terminated", f"signal {name}")))
        grace = float(self.call.setting("grace-period", "TUNNEL_GRACE_PERIOD", "30s")[:-1])
        if gate := self.plan.get("in flight"):
            waiting = threading.Thread(target=self._gate, args=(gate,), daemon=True)
            waiting.start()
            # A WebSocket over HTTP/2 outlives the grace period, and the process with it.
            waiting.join(_EVER if self.plan.get("websocket") else grace)
        for line in texts:
            self._say(line)
        self._exit(0)

    def _last_lines(self) -> list[Line]:
        """What the recording says after its first signal."""
        events = self.run.events
        names = [event.name if isinstance(event, Action) else "" for event in events]
        begin = next((i for i, name in enumerate(names) if name in ("SIGTERM", "SIGINT")), None)
        return [each for each in events[begin:] if isinstance(each, Line)] if begin else []

    def _has_signal(self) -> bool:
        return any(isinstance(e, Action) and e.name.startswith("SIG") for e in self.run.events)

    def _hold(self, text: str) -> None:
        for part, gate in self.plan.get("hold", {}).items():
            if part in text:
                del self.plan["hold"][part]
                self._gate(gate)
                return

    def _gate(self, name: str) -> None:
        """Wait until the test lets us pass; it learns that we are here."""
        with open(os.path.join(self.folder, f"{name}.gate"), "rb") as fifo:
            fifo.read()

    def _record(self, words: list[str]) -> None:
        config = words[words.index("--config") + 1] if "--config" in words else None
        text = ""
        if config is not None and os.path.isfile(config):
            with open(config, encoding="utf-8") as file:
                text = file.read()
        seen = {"argv": words, "env": dict(os.environ), "config": text, "pid": os.getpid()}
        path = os.path.join(self.folder, f"run-{self.number}.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(seen, file)
        os.rename(path + ".new", path)

    def _note(self, text: str) -> None:
        with open(os.path.join(self.folder, f"run-{self.number}.log"), "a") as file:
            file.write(text + "\n")

    def _exit(self, code: int) -> NoReturn:
        self._note(f"exit {code}")
        os._exit(code)


def _write(stream: int, text: str) -> None:
    os.write(stream, text.encode() + b"\n")


def _next_number(folder: str) -> int:
    number = 0
    while True:
        try:
            os.mkdir(os.path.join(folder, f"run-{number}"))
        except FileExistsError:
            number += 1
        else:
            return number


def _plan(folder: str, number: int) -> dict[str, Any]:
    with open(os.path.join(folder, "plans.json"), encoding="utf-8") as file:
        plans: list[dict[str, Any]] = json.load(file)
    return plans[min(number, len(plans) - 1)]


def main(folder: str) -> NoReturn:
    words = sys.argv[1:]
    if words in (["--version"], ["version"]):
        _write(1, _plan(folder, 0).get("version") or recordings.runs("a01-version")[0].lines[0])
        os._exit(0)
    Program(folder).main(words)
