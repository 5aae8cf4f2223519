"""What a host left that was killed together with its guard, the guard of the next one ends."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from prx_tunnel_core.process import _group
from prx_tunnel_core.process._reaper import guard_main, orphans, procfs
from support.left import apart

EVERYTHING = """
pids = left_by_a_dead_host()
assert len(pids) == 5 and all(map(alive, pids)), pids
with next_start():
    gone(pids, 5)
"""


def test_c04_what_is_left_of_a_host_that_died_with_its_guard_ends_at_the_next_start() -> None:
    apart(EVERYTHING)


IN_ORDER = """
POLITE = '''
async def main():
    async with open_process(program(f"on:TERM,touch:{sys.argv[1]}+exit:0", "pid:it", "hang")) as a:
        say(guard_pid(), await pid_of(a, "it"))
        await anyio.sleep_forever()

anyio.run(main)
'''
pids = left_by_a_dead_host(POLITE, sys.argv[1])
with next_start():
    gone(pids, 5)
"""


def test_it_is_asked_to_leave_before_it_is_killed(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    apart(IN_ORDER, str(asked))
    assert asked.exists()


OF_OTHERS = """
with host(STUBBORN) as living, host(STUBBORN) as frozen:
    pids = [int(word) for process in (living, frozen) for word in heard(process)]
    os.kill(frozen.pid, signal.SIGSTOP)
    left = stubborn(naming(*dead_process()))
    with next_start():
        gone([left], 5)
        assert all(map(alive, pids)), pids
"""


def test_what_belongs_to_living_hosts_stays() -> None:
    apart("from support.left import STUBBORN" + OF_OTHERS)


IN_FAREWELL = """
from prx_tunnel_core.process._reaper import guard

# A real guard, which waits for the end of this process, and ends what is another's.
token, other = naming(*dead_process()), naming(*dead_process())
_group._host_token = lambda pid: token.rpartition(".")[0] + "."
guard.prepare()
its_guard = guard_pid()
left, its_own = stubborn(other), stubborn(token)
with next_start():
    gone([left], 5)
    assert alive(its_own)
os.kill(its_guard, signal.SIGSTOP)
while state(its_guard) != "T":
    pass
with next_start():
    gone([its_own], 5)
"""


def test_s15_a_guard_is_left_to_end_its_own_as_long_as_it_runs() -> None:
    apart(IN_FAREWELL)


READY = "print('ready', flush=True); import time; time.sleep(600)"
NO_GUARDS = """
token = naming(*dead_process())
left = stubborn(token)
ready, host_token = sys.argv[1], token.rpartition(".")[0] + "."
others = [
    subprocess.Popen([sys.executable, *command], stdout=-1, env={})
    for command in (
        ["-c", ready, host_token],
        ["-I", "-S", "-c", ready, "guard_main.py", "1", host_token],
        ["-I", "-S", "-c", f"{ready} # guard_main.py 1 {host_token}"],
    )
]
assert [other.stdout.readline() for other in others] == [b"ready\\n"] * 3
with next_start():
    gone([left], 5)
assert [other.poll() for other in others] == [None] * 3
"""


def test_s15_what_only_names_the_host_is_no_guard_of_it() -> None:
    apart(NO_GUARDS, READY)


OF_ANOTHER_USER = """
from prx_tunnel_core.process._reaper import guard_main, strays

token, mine = naming(*dead_process()), _group.new_token()
host_token = token.rpartition(".")[0] + "."
command = ["/usr/bin/python3", "-I", "-S", sys.argv[1], "1"]
others = [
    subprocess.Popen(
        [*command, argument], env=env, stdout=-1, user=65534, group=65534, extra_groups=[]
    )
    for argument, env in (
        (host_token, {}),
        ("", {_group.TOKEN_VARIABLE: token}),
        ("", {_group.TOKEN_VARIABLE: mine}),
    )
]
assert [other.stdout.readline() for other in others] == [b"ready\\n"] * 3
assert mine.encode() in procfs.environment(others[2].pid)
left = stubborn(token)
assert list(orphans.leftovers(b"")) == [left]
with next_start():
    gone([left], 5)
assert _group.running() == []
strays.end_escaped_at_once(mine)
guard_main.end({}, _group.host_token().encode())
assert [other.poll() for other in others] == [None] * 3
"""


@pytest.mark.skipif(not os.path.exists("/usr/bin/python3"), reason="needs a Python for all users")
def test_s15_a_process_of_another_user_is_neither_guard_nor_stray() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        script = Path(folder) / "guard_main.py"
        # To /proc it is root's then, as each process that others may not look into.
        script.write_text(f"import ctypes; ctypes.CDLL(None).prctl(4, 0); {READY}")
        apart(OF_ANOTHER_USER, str(script), among_users=True)


INSIDE = """
token = naming(*dead_process())
terminal, left = bearing(token), stubborn(naming(*dead_process()))
os.environ[_group.TOKEN_VARIABLE] = token
with next_start() as host_in_it:
    gone([left], 5)
    assert alive(terminal) and alive(host_in_it.pid)
del os.environ[_group.TOKEN_VARIABLE]
with next_start():
    gone([terminal], 5)
"""


def test_whoever_was_started_by_what_is_left_does_not_end_it() -> None:
    """It would end the terminal that a person sits at, and itself."""
    apart(INSIDE)


def test_a_guard_whose_host_is_gone_already_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what that host was started by, it cannot know any more."""
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("it looks"))
    guard_main.look_for_leftovers(os.getpid())


SHORT = """
listening, telling = os.pipe()
command = program("on:TERM,print:asked", "print:ready", "hang")
left = bearing(naming(*dead_process()), *command, out=telling)
with open(listening) as said:
    assert said.readline() == "ready\\n"
    with next_start():
        assert said.readline() == "asked\\n"
gone([left], 5)
"""


def test_a_host_that_ends_soon_does_not_cut_it_short() -> None:
    apart(SHORT)


JUDGED = """
me, (gone_pid, started) = os.getpid(), dead_process()
mine = int(procfs.start_time(me))
zombie = os.posix_spawn("/bin/true", ["true"], {})
os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
threads = '''
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
ctypes.CDLL(None).pthread_exit(None)
'''
half = os.posix_spawn(sys.executable, [sys.executable, "-c", threads], {})
while state(half) != "Z":
    pass
dead, pid_space, time_space = naming(gone_pid, started), *procfs.origin()[1:]
judged = {
    "of a number that is nobody's": dead,
    "of a number that is another process": naming(me, mine + 1),
    "of a number that is a thread": naming(half, 1),
    "of a zombie": naming(zombie),
    "of a host in a host that lives": naming(me) + dead,
}
others = {
    "of one that lives": naming(me),
    "of one that lives in a host that is gone": dead + naming(me),
    "of one whose first thread has ended": naming(half),
    "of another pid namespace": naming(gone_pid, started, namespaces=(1, time_space)),
    "of another time namespace": naming(gone_pid, started, namespaces=(pid_space, 1)),
    "of one that does not know its start": naming(gone_pid, 0),
    "of one that knows nothing": naming(gone_pid, 0, namespaces=(0, 0)),
    "of a version that did not tell it": f"{'0' * 24}.{gone_pid}.1;",
}
pids = {text: bearing(token) for text, token in (judged | others).items()}
user, os.geteuid = os.geteuid, lambda: 1
assert orphans.leftovers(b"") == {}, "that is another user's"
os.geteuid = user
found = orphans.leftovers(b"")
assert set(found) == {pids[text] for text in judged}, [t for t in pids if (pids[t] in found)]
orphans.end_leftovers(b"")
gone([pids[text] for text in judged], 0)
assert all(alive(pids[text]) for text in others)
"""


def test_c08_only_a_host_that_is_certainly_gone_is_judged() -> None:
    apart(JUDGED)


SPACES = "{}.{}".format(*procfs.origin()[1:])
HOST = f"{'0' * 24}.1.1.{SPACES}"
TOKEN = f"{HOST}.1;"


@pytest.mark.parametrize(
    "value",
    [
        "", ";", "nonsense", "nonsense;", f"{HOST}.1", f"{TOKEN};", f"{TOKEN}x", f"{TOKEN}x;",
        f"{HOST}.;", f"{HOST}.x;", f"{HOST}.1.1;", f"0.-1.1.{SPACES}.1;", f"0..1.{SPACES}.1;",
        f"0.1.\N{SUPERSCRIPT TWO}.{SPACES}.1;", f"0.1.{'9' * 5000}.{SPACES}.1;",
        f"0.{'9' * 30}.1.{SPACES}.1;", f"{HOST}.agent;",
    ],
    ids=lambda value: value.replace(SPACES, "-")[:40],
)  # fmt: skip
def test_what_is_no_token_tells_nothing(value: str) -> None:
    environ = {_group.TOKEN_VARIABLE: value}
    with subprocess.Popen(["/bin/sleep", "600"], env=environ) as process:
        try:
            assert orphans.dead_host(process.pid) == b""
        finally:
            process.kill()


def test_a_number_that_no_process_can_have() -> None:
    assert not procfs.lives(10**18, 1)


def test_a_number_that_became_another_process_while_it_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        monkeypatch.setattr(orphans, "leftovers", lambda inherited: {process.pid: b"a host."})
        try:
            assert orphans.hold_leftovers(b"") == []
        finally:
            process.kill()


def test_a_chain_that_is_cut_short_tells_nothing() -> None:
    name = _group.TOKEN_VARIABLE
    whole = f"PATH=/bin\0X{name}=no;\0{name}={TOKEN}{TOKEN}\0".encode()
    assert orphans.last_token(whole) == TOKEN[:-1].encode()
    assert orphans.last_token(whole[:-1]) == b""


def test_the_user_of_another_process_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert procfs.same_user(os.getpid())
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert not procfs.same_user(os.getpid())


def test_a_process_that_may_not_be_looked_at_is_no_dead_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where /proc is mounted with `hidepid`."""
    monkeypatch.setattr(procfs, "content", lambda path: b"")
    assert procfs.lives(os.getpid(), 1)

    def refuse(pid: int, number: int) -> None:
        raise PermissionError(pid, number)

    monkeypatch.setattr(os, "kill", refuse)
    assert procfs.lives(os.getpid(), 1)
