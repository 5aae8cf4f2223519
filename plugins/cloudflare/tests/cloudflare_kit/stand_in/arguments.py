"""What the real program accepts: the flags in the recorded help texts, and hidden ones."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from dataclasses import dataclass, field

from cloudflare_kit import recordings

_HIDDEN = {
    "cacert", "edge", "ha-connections", "max-edge-addr-retries", "protocol", "quick-service",
    "features", "region", "tag", "stdin-control",
}  # fmt: skip
_FLAG = re.compile(r"^ +--([a-z0-9-]+)", re.MULTILINE)
# Those without a value, so that the next word is not taken for one.
_SWITCHES = {"no-autoupdate", "hello-world", "no-prechecks", "post-quantum", "stdin-control"}


class Usage(Exception):
    """Arguments that the program refuses; `code` is how it exits, on `stream`."""

    def __init__(self, text: str, *, stream: int = 2, code: int = 1) -> None:
        super().__init__(text)
        self.stream = stream
        self.code = code


@dataclass
class Call:
    """What the program was asked to do."""

    run: bool = False
    flags: dict[str, str] = field(default_factory=dict)
    config: dict[str, object] = field(default_factory=dict)
    token: bool = False

    @property
    def quick(self) -> bool:
        return not self.run

    def setting(self, flag: str, variable: str, default: str = "") -> str:
        return self.flags.get(flag) or os.environ.get(variable) or default


def understand(words: list[str]) -> Call:
    """The call, or Usage as the real program would say it."""
    call = Call()
    if not words or words.pop(0) != "tunnel":
        raise Usage("You did not specify any valid additional argument to the cloudflared tunnel")
    known = _known("a02-help-tunnel") | _HIDDEN
    while words:
        word = words.pop(0)
        if word == "run" and not call.run:
            call.run, known = True, _known("a02-help-tunnel-run") | {"protocol"}
        elif word.startswith("-"):
            _take_flag(call, word.lstrip("-"), words, known)
        else:
            raise Usage(f"unexpected argument {word}")
    _read_config(call)
    _check(call)
    return call


def _known(name: str) -> set[str]:
    text = "\n".join(recordings.runs(name)[0].lines)
    # The help of `run` also shows the flags that only its parent takes.
    text = text.rpartition("SUBCOMMAND OPTIONS:")[2]
    return set(_FLAG.findall(text))


def _take_flag(call: Call, text: str, words: list[str], known: set[str]) -> None:
    name, equals, value = text.partition("=")
    if name not in known:
        sign = ":" if call.run else "."
        message = f"Incorrect Usage{sign} flag provided but not defined: -{name}"
        raise Usage(message, stream=1, code=0)  # yes: on stdout, and success
    if not equals:
        value = "true" if name in _SWITCHES else words.pop(0)
    call.flags[name] = value


def _read_config(call: Call) -> None:
    path = call.flags.get("config")
    if path is None:
        path = os.path.expanduser("~/.cloudflared/config.yml")
        if not os.path.exists(path):
            return
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        raise Usage(f"open {path}: no such file or directory") from None
    call.config = json.loads(text or "{}")


def _check(call: Call) -> None:
    if call.quick:
        if not call.setting("url", "TUNNEL_URL"):
            raise Usage("You did not specify any valid additional argument to the cloudflared")
        return
    token = call.setting("token", "TUNNEL_TOKEN")
    if token:
        _check_token(token)
        call.token = True
    elif not call.config.get("tunnel"):
        raise Usage(
            '"cloudflared tunnel run" requires the ID or name of the tunnel to run as the last '
            "command line argument or in the configuration file.",
            code=255,
        )


def _check_token(token: str) -> None:
    text = "Provided Tunnel token is not valid.\nSee 'cloudflared tunnel run --help'."
    try:
        json.loads(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError):
        raise Usage(text, code=255) from None
