"""The script of the stand-in: it follows a plan, then plays the tunnel program.

    stand_in_main.py FOLDER PROGRAM ARGUMENT...

The plan is FOLDER/plan. Each run that is a tunnel writes a note in FOLDER/runs and locks it for as
long as it runs, which tells whether it runs without trusting a process id. Standard library only,
and little of it, as it starts dozens of times in each contract.
"""

import _thread
import fcntl
import marshal
import os
import sys
import time

BLOCK = b"all work and no play makes a dull tunnel\n" * 1599  # just below 64 KiB, what a pipe holds


def main(folder: str, program: str, arguments: "list[str]") -> None:
    with open(f"{folder}/plan", "rb") as file:
        plan = marshal.load(file)  # noqa: S302 - written by the kit, beside this run
    if not plan["subcommand"] or plan["subcommand"] in arguments:
        held = note(folder, str(os.getpid()), arguments)
        do(plan["before"], folder, held)
        if plan["after"]:  # only then, as a second thread may take a signal for the first
            _thread.start_new_thread(later, (plan["after"], folder, held))
    sys.argv = [program, *arguments]
    play(plan)


def note(folder: str, name: str, arguments: "list[str]") -> int:
    """Write and lock the note, which is visible only when it is locked; returns the descriptor."""
    path = f"{folder}/runs/{name}"
    held = os.open(f"{folder}/new-{name}", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    os.write(held, marshal.dumps(arguments))
    os.rename(f"{folder}/new-{name}", path)
    return held


def play(plan: "dict[str, str]") -> None:
    if plan["source"]:
        exec(compile(plan["source"], "<stand-in>", "exec"), {"__name__": "__main__"})  # noqa: S102
        return
    for line in plan["announces"]:
        write(1, line)
    wait()


def later(steps: "list[tuple[str, str]]", folder: str, held: int) -> None:
    with open(f"{folder}/later", "rb", 0) as gate:
        gate.read(1)
    do(steps, folder, held)


def do(steps: "list[tuple[str, str]]", folder: str, held: int) -> None:
    for step, value in steps:
        if step == "say":
            write(2, value)
        elif step == "exit":
            os._exit(int(value))
        elif step == "flood":
            flood(int(value))
        elif step == "mark":
            os.close(os.open(f"{folder}/{value}", os.O_CREAT))
        elif step == "gate":
            with open(f"{folder}/{value}", "rb", 0) as gate:
                gate.read(1)
        elif step == "ignore":
            ignore(value)
        elif step == "child":
            child(folder, held)
        elif step == "silence":
            wait()
        else:
            raise ValueError(step)


def write(stream: int, line: str) -> None:
    data = f"{line}\n".encode()
    while data:
        data = data[os.write(stream, data) :]


def flood(kibibytes: int) -> None:
    """Full lines on both streams."""
    for _ in range(kibibytes // 128):
        for stream in (1, 2):
            data = BLOCK
            while data:
                data = data[os.write(stream, data) :]


def ignore(name: str) -> None:
    """Also when the program that is played later sets a handler."""
    import signal

    signal.signal(signal.Signals[name], signal.SIG_IGN)
    signal.signal = lambda *_: None


def child(folder: str, held: int) -> None:
    """A process of the same group that holds both streams and never ends."""
    ready, tell = os.pipe()
    if os.fork() == 0:
        os.close(held)  # a copy would keep the parent's lock
        note(folder, f"{os.getpid()}.child", [])
        os.write(tell, b"!")
        wait()
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)


def wait() -> None:
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
