"""Suggestions for mistyped commands and options."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Collection, Sequence

from prx_tunnel_core._plugins.names import BACKENDS, closest, installed_names
from prx_tunnel_core.text import one_line

_ASKS_FOR = {"help": "prx --help", "version": "prx --version"}
_OPTIONS = {"-v": "--version", "-V": "--version"}
_OPTION = re.compile(r"--[a-z][a-z-]*")


def unknown_command(arguments: Sequence[str], top: Collection[str], below: Collection[str]) -> str:
    """The error message for an unknown command; "" if there is nothing to suggest.

    `top` are the commands of `prx`, `below` those of `prx tunnel`.
    """
    typed, *others = arguments or [""]
    following = others[0] if others else ""
    if typed == "tunnel" and following.startswith("-"):
        return ""
    if typed.startswith("-"):
        return _unknown_option(typed)
    if typed == "tunnel":
        typed = f"tunnel {following}"
        meant = _below(following, top, below)
    else:
        meant = _top(typed, following, top, below)
    return f"prx: unknown command {one_line(typed)!r}; did you mean: {meant}" if meant else ""


def _unknown_option(typed: str) -> str:
    known = ["--version", "--help"]
    meant = _OPTIONS.get(typed) or closest(typed, known, cutoff=0.7)
    if meant is None or typed in known:
        return ""
    return f"prx: unknown option {one_line(typed)!r}; did you mean: prx {meant}"


def _top(word: str, following: str, top: Collection[str], below: Collection[str]) -> str:
    """The suggestion for an unknown first word; `following` is the second."""
    if word in _ASKS_FOR:
        return _ASKS_FOR[word]
    if word in below:
        return f"prx tunnel {word}"
    if closest(word, ["tunnel"]):
        return _below(following, top, below) or "prx tunnel --help"
    meant = closest(word, (*top, *below), cutoff=0.7)
    if meant is None:
        return _backend(word)
    return f"prx {meant}" if meant in top else f"prx tunnel {meant}"


def _below(word: str, top: Collection[str], below: Collection[str]) -> str:
    """The suggestion for an unknown word after `tunnel`."""
    if word == "help":
        return "prx tunnel --help"
    if meant := closest(word, below):
        return f"prx tunnel {meant}"
    return f"prx {word}" if word in top else _backend(word)


def _backend(word: str) -> str:
    meant = meant_backend(word)
    return f"prx tunnel start --backend {meant}" if meant else ""


def meant_backend(word: str) -> str | None:
    """The backend whose name resembles the word."""
    return closest(word, dict.fromkeys((*BACKENDS, *installed_names())), cutoff=0.7)


def unknown_arguments(parser: ArgumentParser, unknown: Sequence[str]) -> str:
    """The error message for unknown arguments, with a suggestion.

    Leaves out the values of options: one may be a token.
    """
    names = [each.partition("=")[0] for each in unknown if each.startswith("-")]
    known = dict.fromkeys(_OPTION.findall(parser.format_help()))
    meant = None
    if names:
        meant = closest(names[0], known, cutoff=0.7)
    elif "--backend" in known and (backend := meant_backend(unknown[0])):
        meant = f"--backend {backend}"
    hint = f"; did you mean: {meant}" if meant else ""
    return one_line(f"unrecognized arguments: {' '.join(names or unknown)}{hint}")
