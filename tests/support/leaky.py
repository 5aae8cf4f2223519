"""A program that tells everybody all that it was given, and then does what `<itself>.mode` says.

That is `exit:3`, `kill`, `hang` or `up:<url>`. It tells its environment, and what is in the files
that its arguments name. Standard library only: it runs with `-IS`.
"""

import base64
import json
import os
import signal
import sys
import urllib.parse


def given() -> "list[str]":
    texts = [value for name, value in os.environ.items() if name not in ("PATH", "HOME")]
    for word in sys.argv[1:]:
        for path in word.rpartition("=")[2].split(","):
            try:
                with open(path) as file:
                    texts += file.read().splitlines()
            except (OSError, ValueError):
                continue
    return [text for text in texts if len(text) > 3]


def spellings(text: str) -> "list[str]":
    raw = text.encode("utf-8", "surrogateescape")
    return [text, urllib.parse.quote(text, safe=""), json.dumps(text), repr(text),
            base64.b64encode(raw).decode(), base64.b64encode(b"user:" + raw).decode()]  # fmt: skip


def tell() -> None:
    for text in given():
        for number, spelling in enumerate(spellings(text)):
            os.write(1 + number % 2, f"using {spelling} now\n".encode("utf-8", "surrogateescape"))
            half = len(spelling) // 2
            os.write(1, b"in two " + spelling[:half].encode())
            os.write(1, spelling[half:].encode() + b"\n")


def main() -> None:
    tell()
    with open(sys.argv[0] + ".mode") as file:
        mode = file.read()
    name, _, value = mode.partition(":")
    if name == "exit":
        sys.exit(int(value))
    if name == "kill":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "up":
        os.write(1, f"\nyour url: {value}\n".encode())
    while True:
        signal.pause()


main()
