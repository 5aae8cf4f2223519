"""An agent for `prx start`: does what it reads from its standard input, and says what it gets.

Run as a script. It says `I am PID URL`, then for each line of its input:

    listen PORT    listens there
    url            says what the file of the public URL holds, and the file's mode
    exit CODE      ends
    kill NUMBER    ends by that signal

and `got NAME` for each signal. It ends by none of these, and when its input does.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def tell_signals() -> None:
    while True:
        say("got", signal.Signals(signal.sigwait(CAUGHT)).name)


def main() -> None:
    # A handler would run only when the next line is read, should the signal come just before that.
    signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
    threading.Thread(target=tell_signals, daemon=True).start()
    say("I am", os.getpid(), os.environ.get("PRX_TUNNEL_PUBLIC_URL", "-"))
    listeners: list[socket.socket] = []
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "listen":
            listeners.append(socket.create_server(("127.0.0.1", int(rest))))
        elif word == "url":
            path = os.environ["PRX_TUNNEL_PUBLIC_URL_FILE"]
            with open(path, encoding="ascii") as file:
                say("url", repr(file.read()), oct(os.fstat(file.fileno()).st_mode & 0o777), path)
        elif word == "exit":
            sys.exit(int(rest))
        elif word == "kill":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)
            signal.pthread_kill(threading.get_ident(), int(rest))


if __name__ == "__main__":
    main()
