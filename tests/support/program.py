"""The stand-in for every tunnel program: it does what its arguments say, one step after another.

    program.py print:https://a.example.com gate:/tmp/x/fifo exit:3

A step that starts a process (`child`, `escape`, `daemonize`) or handles a signal (`on`) has steps
of its own, separated by semicolons (by `+` for `on`): `child:ignore:TERM;pid:grandchild;hang`.
Standard library only, and little of it: it starts hundreds of times in a test run.
"""

import os
import signal
import sys
import time

BLOCK = 64 * 1024


def run(steps: "list[str]") -> None:
    for step in steps:
        name, _, value = step.partition(":")
        STEPS[name](value)


def write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def write_line(fd: int, text: str) -> None:
    write(fd, (text + "\n").encode("utf-8", "surrogateescape"))


def flood(megabytes: str) -> None:
    """Short lines, then one that says it is over."""
    block = b"all work and no play makes a dull tunnel\n" * (BLOCK // 41)
    for _ in range(int(float(megabytes) * (1 << 20)) // len(block)):
        write(1, block)


def longline(megabytes: str) -> None:
    for _ in range(int(float(megabytes) * (1 << 20)) // BLOCK):
        write(1, b"x" * BLOCK)


def gate(path: str) -> None:
    """Wait until the test opens the gate."""
    with open(path, "rb", 0) as fifo:
        fifo.read(1)


def exit_now(code: str) -> None:
    os._exit(int(code))


def kill(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, "SIG" + name))
    hang("")  # the signal is on its way


def child(steps: str) -> None:
    """A process in the same group, which holds both streams."""
    if os.fork() == 0:
        run(steps.split(";"))
        os._exit(0)


def escape(steps: str) -> None:
    """A process in a session and group of its own, which holds both streams."""
    if os.fork() == 0:
        os.setsid()
        run(steps.split(";"))
        os._exit(0)


def daemonize(steps: str) -> None:
    """What daemons do: fork twice, leave the session, close the streams."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            run(steps.split(";"))
            os._exit(0)
        os._exit(0)
    os.wait()


def ignore(names: str) -> None:
    for name in names.split(","):
        signal.signal(getattr(signal, "SIG" + name), signal.SIG_IGN)


def on(value: str) -> None:
    """`on:TERM,print:bye+exit:0`"""
    name, _, steps = value.partition(",")
    signal.signal(getattr(signal, "SIG" + name), lambda *_: run(steps.split("+")))


def again(value: str) -> None:
    """Within the steps of `on`, what the next signal does: `on:INT,print:first+again:INT,exit:1`"""
    name, _, step = value.partition(",")
    signal.signal(getattr(signal, "SIG" + name), lambda *_: run([step]))


def closeout(_: str) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)


def hang(_: str) -> None:
    while True:
        signal.pause()


def burn(_: str) -> None:
    while True:
        pass


def pid(label: str) -> None:
    write(1, b"%s %d\n" % (label.encode(), os.getpid()))


def env(name: str) -> None:
    write(1, f"{name}={os.environ.get(name, '(unset)')}\n".encode("utf-8", "surrogateescape"))


def environ(_: str) -> None:
    write(1, ("names: " + " ".join(sorted(os.environ)) + "\n").encode())


def prompt(question: str) -> None:
    write(1, question.encode() + b"\n")
    write(1, f"answer: {os.read(0, 100)!r}\n".encode())


def touch(path: str) -> None:
    with open(path, "x"):
        pass


def fds(_: str) -> None:
    """The open descriptors; reading the directory opens one itself."""
    write(1, ("fds: " + " ".join(sorted(os.listdir("/dev/fd"))) + "\n").encode())


def session(_: str) -> None:
    leads = os.getsid(0) == os.getpgid(0) == os.getpid()
    blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    pipe = signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    write(1, f"leads={leads} blocked={blocked} cwd={os.getcwd()} pipe={pipe}\n".encode())


STEPS = {
    "print": lambda text: write_line(1, text),
    "eprint": lambda text: write_line(2, text),
    "raw": lambda text: write(1, bytes.fromhex(text)),
    "sleep": lambda seconds: time.sleep(float(seconds)),
    "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "exit": exit_now,
    "kill": kill,
    "gate": gate,
    "flood": flood,
    "longline": longline,
    "child": child,
    "escape": escape,
    "daemonize": daemonize,
    "ignore": ignore,
    "on": on,
    "again": again,
    "closeout": closeout,
    "hang": hang,
    "burn": burn,
    "pid": pid,
    "env": env,
    "environ": environ,
    "prompt": prompt,
    "touch": touch,
    "fds": fds,
    "session": session,
}

if __name__ == "__main__":
    run(sys.argv[1:])
