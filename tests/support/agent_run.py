"""A `prx start` with the agent of `support.agent`."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

from support.command import PATIENCE, Prx
from support.proc import alive

SCRIPT = Path(__file__).with_name("agent.py")
AGENT = [sys.executable, "-I", "-S", str(SCRIPT)]


class AgentRun:
    """`lines` is what was said so far, by prx and by its agent."""

    def __init__(self, prx: Prx, *arguments: str, **environ: str) -> None:
        given = arguments if "--" in arguments else (*arguments, "--", *AGENT)
        self.process = subprocess.Popen(
            prx.command("start", *given),
            env={**prx.environ, "TMPDIR": str(prx.home), **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._said: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line.rstrip("\n"))
        self._said.put(None)

    def until(self, text: str) -> str:
        """The first further line that holds the text."""
        while (line := self._said.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} was not said: {self.lines}")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def agent(self) -> int:
        """The agent's process id, once it has started."""
        return int(self.until("I am ").split()[2])

    def url(self) -> tuple[str, str, str]:
        """Content, mode and path of the URL's file, as the agent sees them."""
        self.tell("url")
        _, content, mode, path = self.until("url '").split()
        return eval(content), mode, path

    def end(self) -> int:
        """The exit code, once everything that was said is in `lines`."""
        while (line := self._said.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        for line in self.lines:
            if line.startswith("I am ") and alive(int(line.split()[2])):
                os.kill(int(line.split()[2]), signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
