"""A mistyped command gets its fix in one line, and exposes nothing."""

from __future__ import annotations

import pytest

from support.command import Prx


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("status", "prx tunnel status"),
        ("stop", "prx tunnel stop"),
        ("doctor --json", "prx tunnel doctor"),
        ("tunel start", "prx tunnel start"),
        ("tunel strat", "prx tunnel start"),
        ("tunel", "prx tunnel --help"),
        ("tunnel strat --port 8000", "prx tunnel start"),
        ("tunnel init", "prx init"),
        ("strat", "prx start"),
        ("cloudflared", "prx tunnel start --backend cloudflare"),
        ("tunnel ngrok", "prx tunnel start --backend ngrok"),
        ("help", "prx --help"),
        ("tunnel help", "prx tunnel --help"),
        ("version", "prx --version"),
        ("--verison", "prx --version"),
        ("-v", "prx --version"),
    ],
)
def test_t05_a_mistyped_command(prx: Prx, typed: str, meant: str) -> None:
    done = prx(*typed.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"did you mean: {meant}\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tunnel start --prot 8000", "--port"),
        ("tunnel start --detatch", "--detach"),
        ("tunnel start cloudflared", "--backend cloudflare"),
        ("start --bakcend ssh", "--backend"),
        ("init ssh", "--backend ssh"),
    ],
)
def test_t05_a_mistyped_argument(prx: Prx, typed: str, meant: str) -> None:
    done = prx(*typed.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"did you mean: {meant}\n")
    assert done.stderr.startswith("usage: prx")


def test_t05_the_value_of_an_unknown_option_is_not_repeated(prx: Prx) -> None:
    done = prx("tunnel", "start", "--authtoken=canary-1", "--token", "canary-2")
    assert done.returncode == 2
    assert "canary" not in done.stderr


def test_t05_what_resembles_nothing_is_explained_by_the_usage(prx: Prx) -> None:
    for typed in (["begin"], ["tunnel", "xyzzy"], ["--xyzzy"], ["tunnel"], []):
        done = prx(*typed)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: prx")
