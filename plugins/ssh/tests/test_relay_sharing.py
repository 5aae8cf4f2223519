"""Fair shares, counted in constant time: pools, rates and budgets, on a virtual clock."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import statistics
import time
from dataclasses import dataclass

import pytest
from prx_tunnel_ssh.relay import listening
from prx_tunnel_ssh.relay.crowd import Crowd
from prx_tunnel_ssh.relay.descriptors import fit
from prx_tunnel_ssh.relay.limits import Rate
from prx_tunnel_ssh.relay.listening import Listener
from prx_tunnel_ssh.relay.log import LimitedLog, Log
from prx_tunnel_ssh.relay.openings import Openings
from prx_tunnel_ssh.relay.pool import Pool
from prx_tunnel_ssh.relay.settings import Limits
from prx_tunnel_ssh.relay.startups import Startups


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(eq=False)
class Stranger:
    source: str
    evicted: bool = False

    def evict(self) -> None:
        self.evicted = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_s03_the_largest_group_makes_room_and_its_longest_idle_member_goes(clock: Clock) -> None:
    pool: Pool[str] = Pool(6, clock=clock)
    for number in range(4):
        clock.now = number
        pool.enter(f"greedy {number}", "greedy")
    pool.enter("honest", "honest")
    pool.touch("greedy 0")
    assert pool.victim("newcomer", idle=60) == "greedy 1"
    assert pool.victim("honest", idle=60) == "greedy 1"
    assert pool.victim("greedy", idle=60) is None
    clock.now = 100
    assert pool.victim("greedy", idle=60) == "greedy 1"


def test_s03_equals_go_only_when_they_are_idle(clock: Clock) -> None:
    pool: Pool[int] = Pool(3, clock=clock)
    for number in range(3):
        pool.enter(number, f"address {number}")
    clock.now = 10
    pool.touch(0)
    assert pool.victim("another", idle=20) is None
    assert pool.victim("another", idle=10) == 1
    pool.leave(1)
    assert pool.victim("another", idle=10) == 2


def test_a_pool_keeps_its_books(clock: Clock) -> None:
    """Against the same written down plainly."""
    pool: Pool[int] = Pool(100, clock=clock)
    plain: dict[int, tuple[str, float]] = {}
    state = 1
    for step in range(5000):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        clock.now = step
        member, what = state // 7 % 60, state // 3 % 3
        if what == 0 and member not in plain:
            pool.enter(member, str(member % 7))
            plain[member] = (str(member % 7), step)
        elif what == 1:
            assert pool.leave(member) == (plain.pop(member, None) is not None)
        else:
            pool.touch(member)
            if member in plain:
                plain[member] = (plain[member][0], step)
        sizes = {group: sum(g == group for g, _ in plain.values()) for group, _ in plain.values()}
        assert len(pool) == len(plain)
        assert all(pool.count(group) == size for group, size in sizes.items())
        if plain:
            largest = max(sizes.values())
            victim = pool.victim("nobody")
            assert victim is not None
            group, moved = plain[victim]
            assert sizes[group] == largest
            assert moved == min(then for g, then in plain.values() if g == group)


def test_s11_one_more_source_costs_the_same_however_many_there_are() -> None:
    clock = Clock()
    rate = Rate(60, clock=clock)
    for number in range(50_000):
        rate.allows(str(number))
    taken = []
    for number in range(2000):
        start = time.perf_counter()
        rate.allows(f"another {number}")
        taken.append(time.perf_counter() - start)
    assert statistics.median(taken) < 0.001
    assert len(rate._buckets) + len(rate._earlier) <= 20_000


def test_s11_a_source_is_remembered_from_one_minute_to_the_next() -> None:
    clock = Clock()
    rate = Rate(60, clock=clock)
    clock.now = 59.0
    assert [rate.allows("a") for _ in range(61)] == [True] * 60 + [False]
    clock.now = 60.0
    rate.allows("b")
    assert [rate.allows("a") for _ in range(2)] == [True, False]


def test_s11_a_pool_evicts_as_fast_when_it_is_large() -> None:
    taken = {}
    for size in (100, 20_000):
        pool: Pool[int] = Pool(size)
        for number in range(size):
            pool.enter(number, str(number % (size // 10)))
        start = time.perf_counter()
        for number in range(2000):
            victim = pool.victim(str(number))
            assert victim is not None
            pool.leave(victim)
            pool.enter(size + number, str(number))
        taken[size] = time.perf_counter() - start
    assert taken[20_000] < 20 * taken[100]


def crowd_of(**limits: int) -> Crowd:
    return Crowd(Limits(**limits))


def test_s02_an_address_has_its_share_of_the_web_sites() -> None:
    crowd = crowd_of(visitors_in_all=100, visitors_per_address=3)
    assert [crowd.arrive(Stranger("a")) for _ in range(5)] == [True] * 3 + [False] * 2
    assert crowd.arrive(Stranger("b"))
    assert len(crowd) == 4


def test_s02_a_proxy_has_no_share_of_its_own() -> None:
    crowd = Crowd(Limits(visitors_in_all=10, visitors_per_address=1), {"127.0.0.1"})
    assert all(crowd.arrive(Stranger("127.0.0.1")) for _ in range(10))


def test_s03_who_has_asked_for_nothing_goes_first() -> None:
    crowd = crowd_of(visitors_in_all=4, visitors_per_address=4)
    served, idle = Stranger("a"), [Stranger("b"), Stranger("b"), Stranger("c")]
    for stranger in (served, *idle):
        assert crowd.arrive(stranger)
    crowd.serve(served, "tenant")
    assert crowd.arrive_at(Stranger("d"), "tenant")
    assert [stranger.evicted for stranger in (served, *idle)] == [False, True, False, False]
    assert len(crowd) == 4


def test_s03_who_comes_again_and_again_does_not_push_out_others() -> None:
    crowd = crowd_of(visitors_in_all=4, visitors_per_address=4)
    first = [Stranger(address) for address in "aabb"]
    assert all(crowd.arrive(stranger) for stranger in first)
    assert not crowd.arrive(Stranger("a"))
    assert crowd.arrive(Stranger("c"))
    assert [stranger.evicted for stranger in first] == [True, False, False, False]


def test_s03_the_tenant_that_has_the_most_makes_room() -> None:
    crowd = crowd_of(visitors_in_all=4)
    many = [Stranger("a"), Stranger("b"), Stranger("c")]
    few = Stranger("d")
    for stranger in many:
        assert crowd.arrive_at(stranger, "many")
    assert crowd.arrive_at(few, "few")
    crowd.touch(many[0])
    assert not crowd.arrive_at(Stranger("e"), "many")
    assert crowd.arrive_at(Stranger("e"), "another")
    assert [stranger.evicted for stranger in (*many, few)] == [False, True, False, False]


@pytest.mark.parametrize(("seconds", "enters"), [(4.9, False), (5.0, True)])
def test_s03_a_visitor_that_was_busy_five_seconds_ago_stays(
    clock: Clock, seconds: float, enters: bool
) -> None:
    crowd = Crowd(Limits(visitors_in_all=4), clock=clock)
    served = [Stranger(address) for address in "abcd"]
    for visitor, tenant in zip(served, ["one", "one", "two", "two"], strict=True):
        assert crowd.arrive_at(visitor, tenant)
    clock.now = 1.0
    crowd.touch(served[1])
    clock.now = seconds
    assert crowd.arrive_at(Stranger("e"), "one") is enters
    assert [visitor.evicted for visitor in served] == [enters, False, False, False]


@pytest.mark.parametrize(("seconds", "enters"), [(4.9, False), (5.0, True)])
def test_s03_the_largest_address_waits_five_seconds_for_one_of_its_own(
    clock: Clock, seconds: float, enters: bool
) -> None:
    crowd = Crowd(Limits(visitors_in_all=2), clock=clock)
    idle = [Stranger("a"), Stranger("b")]
    assert all(crowd.arrive(visitor) for visitor in idle)
    clock.now = seconds
    assert crowd.arrive(Stranger("a")) is enters
    assert [visitor.evicted for visitor in idle] == [enters, False]


@pytest.mark.parametrize(("seconds", "enters"), [(0.9, False), (1.0, True)])
def test_s02_a_burst_of_an_address_is_one_second_long(
    clock: Clock, seconds: float, enters: bool
) -> None:
    crowd = Crowd(Limits(visitors_per_address=1), clock=clock)
    first = Stranger("a")
    assert crowd.arrive(first)
    clock.now = seconds
    assert crowd.arrive(Stranger("a")) is enters
    assert first.evicted is enters


@pytest.mark.parametrize("waiting", [2, 3])
def test_s03_a_quarter_of_the_places_is_for_visitors_without_a_request(
    clock: Clock, waiting: int
) -> None:
    crowd = Crowd(Limits(visitors_in_all=8), clock=clock)
    idle = [Stranger(str(number)) for number in range(waiting)]
    served = [Stranger(f"s{number}") for number in range(8 - waiting)]
    assert all(crowd.arrive(visitor) for visitor in idle)
    assert all(crowd.arrive_at(visitor, "tenant") for visitor in served)
    clock.now = 60.0
    assert crowd.arrive(Stranger("another"))
    evicted = [sum(visitor.evicted for visitor in each) for each in (idle, served)]
    assert evicted == ([0, 1] if waiting == 2 else [1, 0])


@pytest.mark.parametrize(("seconds", "enters"), [(1.9, False), (2.0, True)])
def test_s03_a_login_has_two_seconds_before_one_of_an_equal_address(
    clock: Clock, seconds: float, enters: bool
) -> None:
    startups = Startups(Limits(startups=4), chance=lambda: 0.0, clock=clock)
    guests = [Stranger(address) for address in "aabb"]
    for guest in guests:
        startups.enter(guest)
    clock.now = seconds
    assert startups.has_room("a") is enters
    assert [guest.evicted for guest in guests] == [enters, False, False, False]


def test_s09_sixty_four_descriptors_are_kept_back() -> None:
    limits = Limits()
    needed = limits.connections + limits.startups + limits.visitors_in_all
    assert fit(limits, needed + 64) == limits
    assert fit(limits, needed + 63) != limits


@pytest.mark.anyio
async def test_s03_unanswered_channels_are_bounded() -> None:
    tasks: set[asyncio.Task[object]] = set()
    openings = Openings(2, 0.01, tasks)
    answer = asyncio.Event()
    late: list[str] = []

    async def opening() -> str:
        await answer.wait()
        return "opened"

    for _ in range(2):
        with pytest.raises(TimeoutError):
            await openings.open(opening(), late.append)
    with pytest.raises(TimeoutError):
        await openings.open(opening(), late.append)
    assert len(tasks) == 2
    answer.set()
    await asyncio.wait(tasks)
    await asyncio.sleep(0)
    assert late == ["opened", "opened"]
    assert await openings.open(opening(), late.append) == "opened"
    assert not tasks


def enter(startups: Startups, stranger: Stranger) -> bool:
    if not startups.has_room(stranger.source):
        return False
    startups.enter(stranger)
    return True


def test_s08_silent_ones_make_room_at_random_before_the_pool_is_full() -> None:
    draws = iter([0.9, 0.9, 0.9, 0.3])
    startups = Startups(Limits(startups=4), chance=lambda: next(draws))
    silent = [Stranger("attacker") for _ in range(3)]
    assert all(enter(startups, stranger) for stranger in silent)
    assert not any(stranger.evicted for stranger in silent)
    assert enter(startups, Stranger("honest"))  # at two of four begins the pressure
    assert [stranger.evicted for stranger in silent] == [True, False, False]


def test_s08_a_full_pool_never_grows_and_honest_ones_stay() -> None:
    startups = Startups(Limits(startups=50), chance=lambda: 0.99)
    honest = Stranger("honest")
    assert enter(startups, honest)
    for number in range(2000):
        enter(startups, Stranger(f"address {number % 20}"))
        assert len(startups) <= 50
    assert not honest.evicted
    assert enter(startups, Stranger("another"))
    most = max((f"address {number}" for number in range(20)), key=startups.count)
    assert not enter(startups, Stranger(most))


def test_s09_limits_fit_the_descriptors() -> None:
    limits = Limits()
    assert fit(limits, 65_536) == limits
    low = fit(limits, 1024)
    assert low.connections + low.startups + low.visitors_in_all <= 1024 - 64
    assert low.visitors_per_address < limits.visitors_per_address
    assert min(fit(limits, 10).visitors_in_all, fit(limits, 10).connections) >= 1


class Exhausted(socket.socket):
    """A listener of a process that has no descriptor left."""

    tries = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.tries += 1
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.anyio
async def test_s09_no_descriptors_left_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "prx_tunnel_ssh.relay")
    monkeypatch.setattr(listening, "_PAUSE_SECONDS", 0.0)
    listener = Exhausted()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    with socket.create_connection(listener.getsockname()):
        accepting = Listener([listener], lambda *_: True, Log())
        while listener.tries < 50:
            await asyncio.sleep(0)
        accepting.close()
    assert [record.getMessage() for record in caplog.records] == [
        f'cannot accept connections port={accepting.port} reason="Too many open files"'
    ]


def test_s09_strangers_cannot_fill_the_log(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "prx_tunnel_ssh.relay")
    log = LimitedLog(Log(), 3, clock=clock)
    for _ in range(1000):
        log("connection refused", address="192.0.2.1")
    log("another event")
    assert len(caplog.records) == 4
    clock.now = 60.0
    log("connection refused", address="192.0.2.1")
    assert caplog.records[-1].getMessage().endswith("address=192.0.2.1 left_out=997")


def test_s03_an_address_that_wastes_its_connections_is_refused_for_a_while() -> None:
    crowd = Crowd(Limits(wasted_per_minute=3), proxies=["proxy"])
    for source in ("hostile", "proxy"):
        for _ in range(10):
            crowd.waste(Stranger(source))
    assert [crowd.arrive(Stranger(source)) for source in ("hostile", "proxy", "honest")] == [
        False,
        True,
        True,
    ]
    assert not crowd.arrive_at(Stranger("hostile"), "tenant")
    assert crowd.arrive_at(Stranger("honest"), "tenant")


def test_s03_what_was_wasted_is_forgotten() -> None:
    clock = Clock()
    rate = Rate(60, clock=clock)
    assert [rate.allows("a") for _ in range(60)] == [True] * 60
    assert [rate.is_exhausted("a") for _ in range(3)] == [True] * 3
    assert not rate.is_exhausted("b")
    clock.now = 1.0
    assert not rate.is_exhausted("a")
