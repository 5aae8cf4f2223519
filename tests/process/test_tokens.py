"""A token names its host as no other process of this boot is named."""

from __future__ import annotations

import os
import re
import sys

import pytest

from prx_tunnel_core.process._reaper import procfs, sweep, tokens
from support.proc import sleeper

NAMED = re.compile(r"([0-9a-f]{24})\.(\d+)\.(\d+)\.(\d+)\.(\d+)\.")


def parts(token: str) -> list[str]:
    found = NAMED.fullmatch(token)
    assert found is not None, token
    return list(found.groups())


def test_it_names_this_process_its_start_and_its_namespaces() -> None:
    _, pid, *where = parts(tokens.host_token())
    assert pid == str(os.getpid())
    start = procfs.start_time(os.getpid()).decode()
    namespaces = [re.sub(r"\D", "", os.readlink(f"/proc/self/ns/{one}")) for one in ("pid", "time")]
    assert where == [start, *namespaces]


def test_each_child_has_its_own() -> None:
    first, second = tokens.new_token(), tokens.new_token()
    assert first != second
    for token in (first, second):
        assert token.startswith(tokens.host_token())
        assert token.endswith(";")
        assert len(token) < 90


def carriers(token: str) -> list[int]:
    return sweep.carriers(tokens.of_host(token.encode()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows an environment")
def test_s15_only_the_variable_says_who_carries_it() -> None:
    """Not another variable, as of a shell that keeps a command line; nor is part of a token one."""
    host, name = tokens.host_token(), tokens.TOKEN_VARIABLE
    noted = {"NOTED": f"guard_main.py 1 {host} {name}={tokens.new_token()}", f"X{name}": host}
    with sleeper(**noted) as other, sleeper(**{name: tokens.new_token()}) as ours:
        while not (procfs.environment(other.pid) and procfs.environment(ours.pid)):
            pass
        assert carriers(host) == [ours.pid]
        assert carriers("") == carriers(host[:20]) == []
        assert carriers("x") == carriers(f"{name}=") == []


def token_of_a_fork() -> str:
    listening, telling = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(telling, tokens.host_token().encode())
        os._exit(0)
    os.close(telling)
    with open(listening) as told:
        token = told.read()
    os.waitpid(pid, 0)
    return token


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tokens.host_token()
    assert parts(token_of_a_fork())[1] != parts(mine)[1]
    # A fork of a fork may get the number of its dead grandparent.
    number = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: number)
    assert tokens.host_token() == mine
    assert token_of_a_fork() != mine


def test_without_proc_it_names_the_number_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "content", lambda path: b"")
    assert procfs.origin() == (0, 0, 0)


def test_the_proc_of_another_namespace_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ids are those of other processes."""
    monkeypatch.setattr(os, "getpid", lambda: 1 << 22)
    assert procfs.origin() == (0, 0, 0)


def test_a_kernel_without_time_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def without(path: str) -> os.stat_result:
        if path == "/proc/self/ns/time":
            raise FileNotFoundError(path)
        return stat(path)

    *known, _ = procfs.origin()
    monkeypatch.setattr(os, "stat", without)
    assert procfs.origin() == (*known, 0)
