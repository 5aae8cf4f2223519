"""Hostile and honest visitors of a relay, side by side: `python relay_load.py 10000 60`.

The relay, its tenants, the hostile and the honest visitors are separate processes on one machine,
and connect through many addresses of its loopback. The same honest visitors ask a second relay that
is not attacked, so that other load on the machine falls on both.

A relay shares its CPU neither with its attackers nor with this measurement. So the time of an
answer excludes the time during which the relay could have run and no CPU was free, as Linux counts
it (`/proc/PID/schedstat`), for both relays alike. A relay that computes for too long, or too much,
does not wait for a CPU: all of that counts. The attackers have a lower priority than the rest, as
tenants and visitors do not share their CPU either. The report says which part of the time the relay
waited and how many connections the attackers opened in a second: with little CPU left for them, the
attack is weak and the result says little.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import resource
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncssh
import trustme
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.connect import connect
from ssh_programs import PATIENCE, Program, StandaloneRelay, listening, make_key, run
from ssh_sites import PATTERN, certificate_in, site_port

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

FLOOR = 0.25
"""Seconds that an answer may take in any case: the noise of a machine that does other things."""
ADDRESSES = 60
"""Of the hostile."""
LARGE = 1024 * 1024


@dataclass
class Result:
    undisturbed: list[float] = field(default_factory=list)
    """Seconds until each answer of a relay that is not attacked, while the other one is."""
    attacked: list[float] = field(default_factory=list)
    """The same of the one that is; infinite: no answer, or a wrong one."""
    logins: list[float] = field(default_factory=list)
    memory: int = 0
    """The largest resident size of the relay, in bytes."""
    hostile: int = 0
    """Connections that the attackers had open at one time."""
    rate: float = 0.0
    """Connections that the attackers opened in a second."""
    busy: float = 0.0
    """The part of the time that the attacked relay computed."""
    starved: float = 0.0
    """The part of the time that it waited for a CPU."""
    lines: int = 0
    """What the relay wrote into its log."""

    @property
    def limit(self) -> float:
        """Twice the time in which 99 % of the undisturbed were answered."""
        return max(FLOOR, 2 * _percentile(self.undisturbed, 99))

    @property
    def in_time(self) -> float:
        return sum(taken <= self.limit for taken in self.attacked) / len(self.attacked)

    @property
    def logged_in(self) -> float:
        return sum(taken < PATIENCE for taken in self.logins) / len(self.logins)


def _percentile(times: Sequence[float], percent: int) -> float:
    return sorted(times)[min(len(times) - 1, len(times) * percent // 100)]


@dataclass
class Site:
    """A relay with three tenants, each of which has a web site and a port."""

    relay: StandaloneRelay
    program: Program
    web: int
    context: ssl.SSLContext
    names: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)

    @property
    def visits(self) -> list[Callable[[], Awaitable[float]]]:
        return [
            *(functools.partial(self._ask_site, name) for name in self.names),
            *(functools.partial(self._ask_port, port) for port in self.ports),
        ]

    async def _ask_site(self, name: str) -> float:
        tls = {"ssl": self.context, "server_hostname": name}
        return await self._time(_ask(self.web, name, source="127.0.0.2", **tls))

    async def _ask_port(self, port: int) -> float:
        return await self._time(_ask(port, "any", source="127.0.0.3"))

    async def _time(self, asking: Awaitable[bool]) -> float:
        """Seconds until the answer, without those that the relay waited for a CPU."""
        pid = self.program.process.pid
        start, waited = time.monotonic(), _waited_for_cpu(pid)
        if not await asking:
            return float("inf")
        return time.monotonic() - start - (_waited_for_cpu(pid) - waited)


@asynccontextmanager
async def open_relay(directory: Path) -> AsyncIterator[Site]:
    authority = trustme.CA()
    pem = directory / "tls.pem"
    certificate_in(pem, authority)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    relay = StandaloneRelay(directory, _free_port())
    options = ("--http", "127.0.0.1:0", "--certificate", str(pem))
    keys = [make_key(directory / f"tenant{number}") for number in range(3)]
    relay.authorize(relay.client_key, *keys)
    async with relay.serve("--domain", "t.test", *options) as program:
        settings = [relay.settings(identity_file=str(key)) for key in keys]
        command = [sys.executable, __file__, "tenants", json.dumps(settings)]
        async with run(command) as tenants:
            up = json.loads((await tenants.line("up ")).partition(" ")[2])
            yield Site(relay, program, await site_port(program), context, **up)


async def _be_tenants(settings: list[dict[str, Any]]) -> None:
    """The other ends of the tunnels, and the program behind them."""
    names, ports = [], []
    async with listening(_answer) as target, AsyncExitStack() as stack:
        for each in settings:
            named = SshConfig(**each, remote_port=80, url_pattern=PATTERN)
            url = (await stack.enter_async_context(connect(named, target))).public_url
            names.append(url.partition("//")[2].partition(":")[0])
            plain = await stack.enter_async_context(connect(SshConfig(**each), target))
            ports.append(int(plain.public_url.rpartition(":")[2]))
        print("up", json.dumps({"names": names, "ports": ports}), flush=True)
        await asyncio.Event().wait()


async def measure(directory: Path, hostile: int, seconds: float) -> Result:
    result = Result()
    for name in ("quiet", "attacked"):
        (directory / name).mkdir()
    async with (
        open_relay(directory / "quiet") as quiet,
        open_relay(directory / "attacked") as attacked,
    ):
        pid = attacked.program.process.pid
        where: dict[str, Any] = {"ssh": attacked.relay.port, "web": attacked.web}
        where |= {"names": attacked.names, "ports": attacked.ports}
        command = [sys.executable, __file__, "hostile", json.dumps(where), str(hostile)]
        async with run(command) as attackers:
            await _hear(attackers, "attacking")
            start, cpu, waited = time.monotonic(), _cpu(pid), _waited_for_cpu(pid)
            opened = (await _count(attackers))[1]
            await _ask_for(seconds, quiet, attacked, result)
            result.hostile, opened_in_all = await _count(attackers)
            lasted = time.monotonic() - start
            result.busy = (_cpu(pid) - cpu) / lasted
            result.starved = (_waited_for_cpu(pid) - waited) / lasted
            result.rate = (opened_in_all - opened) / lasted
        result.lines = len(attacked.program.lines)
    return result


async def _hear(program: Program, text: str) -> str:
    """Wait for a line with more patience than usual: it follows thousands of connections."""
    async with asyncio.timeout(10 * PATIENCE):
        while True:
            with suppress(TimeoutError):
                return await program.line(text)


async def _count(attackers: Program) -> tuple[int, int]:
    """The next count of the connections that the attackers had open at one time, and opened."""
    attackers.lines.clear()
    _, most, opened = (await _hear(attackers, "open ")).split()
    return int(most), int(opened)


async def _ask_for(seconds: float, quiet: Site, attacked: Site, result: Result) -> None:
    until = time.monotonic() + seconds

    async def ask(visit: Callable[[], Awaitable[float]], times: list[float]) -> None:
        while time.monotonic() < until:
            times.append(await visit())
            await asyncio.sleep(0.1)

    async def log_in() -> None:
        while time.monotonic() < until:
            result.logins.append(await _log_in(attacked.relay))
            await asyncio.sleep(1.5)  # within what one address may do in a minute

    async def watch() -> None:
        while time.monotonic() < until:
            result.memory = max(result.memory, resident(attacked.program.process.pid))
            await asyncio.sleep(0.2)

    await asyncio.gather(
        *(ask(visit, result.undisturbed) for visit in quiet.visits),
        *(ask(visit, result.attacked) for visit in attacked.visits),
        log_in(),
        watch(),
    )


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The program behind each tunnel."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        head = await reader.readuntil(b"\r\n\r\n")
        body = b"x" * (LARGE if b"/large" in head else 100)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
    writer.close()


async def _ask(port: int, host: str, *, source: str, **tls: Any) -> bool:
    """Whether the whole answer arrived."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(source, 0), **tls
            )
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read(-1)
            writer.transport.abort()
    except (OSError, TimeoutError):
        return False
    return answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"x" * 100)


async def _log_in(relay: StandaloneRelay) -> float:
    start = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            connection = await asyncssh.connect(
                "127.0.0.1", relay.port, username="x", client_keys=[str(relay.client_key)],
                known_hosts=None, config=None, agent_path=None, local_addr=("127.0.0.4", 0),
            )  # fmt: skip
            connection.abort()
            await connection.wait_closed()
    except (OSError, asyncssh.Error, TimeoutError):
        return float("inf")
    return time.monotonic() - start


def resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _waited_for_cpu(pid: int) -> float:
    """Seconds for which the main thread could have run and did not; 0 where they are not counted.

    A wait is added when it ends, so a visit that begins amid one has all of it excluded.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Hostile:
    """A number of connections, each of which is opened again when the relay has ended it."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.web, self.ssh = plan["web"], plan["ssh"]
        self.names, self.ports = plan["names"], plan["ports"]
        self.open = 0
        self.most = 0
        self.opened = 0
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    async def attack(self, count: int) -> None:
        kinds = [
            *(self.silent, self.silent, self.silent, self.guest, self.guest),
            *(self.visitor, self.half_head, self.half_head, self.slow_body, self.greedy),
        ]
        ramp = count / 1000
        tasks = [
            asyncio.ensure_future(self._again_and_again(kinds[number % len(kinds)], number, ramp))
            for number in range(count)
        ]
        await asyncio.sleep(ramp)
        most = -1
        while self.most > most:  # until the first rush is over
            most = self.most
            await asyncio.sleep(5)
        print("attacking", flush=True)
        while tasks:
            await asyncio.sleep(0.5)
            print("open", self.most, self.opened, flush=True)

    async def _again_and_again(
        self, kind: Callable[[int, str], Any], number: int, ramp: float
    ) -> None:
        source = f"127.1.{number % ADDRESSES}.7"
        await asyncio.sleep(random.random() * ramp)
        while True:
            with suppress(OSError):
                async with kind(number, source) as (reader, writer):
                    await self._hold(reader, writer, drip=kind == self.slow_body)
            await asyncio.sleep(10 + 10 * random.random())

    async def _hold(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, drip: bool
    ) -> None:
        self.open += 1
        self.opened += 1
        self.most = max(self.most, self.open)
        try:
            while not reader.at_eof() and not writer.transport.is_closing():
                if drip:
                    writer.write(b"x")
                await asyncio.sleep(1)
        finally:
            self.open -= 1

    @asynccontextmanager
    async def _open(self, port: int, source: str, **more: Any) -> AsyncIterator[Streams]:
        client = socket.socket()
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.bind((source, 0))
        try:
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
        except BaseException:
            client.close()
            raise
        if "ssl" in more:
            more["server_hostname"] = ""
        reader, writer = await asyncio.open_connection(sock=client, limit=1024, **more)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def silent(self, number: int, source: str) -> Any:
        return self._open(self.web, source)

    def guest(self, number: int, source: str) -> Any:
        return self._open(self.ssh, source)

    def visitor(self, number: int, source: str) -> Any:
        return self._open(self.ports[number % len(self.ports)], source)

    @asynccontextmanager
    async def _say(self, number: int, source: str, said: str) -> AsyncIterator[Streams]:
        name = self.names[number % len(self.names)]
        async with self._open(self.web, source, ssl=self.context) as (reader, writer):
            writer.write(said.format(name=name).encode())
            yield reader, writer

    def half_head(self, number: int, source: str) -> Any:
        return self._say(number, source, "GET / HTTP/1.1\r\nHost: {name}\r\n" + "X: y\r\n" * 2000)

    def slow_body(self, number: int, source: str) -> Any:
        head = "POST / HTTP/1.1\r\nHost: {name}\r\nContent-Length: 1000000\r\n\r\n"
        return self._say(number, source, head)

    def greedy(self, number: int, source: str) -> Any:
        """Asks for much, and reads half of it at most: what the TLS of asyncio buffers."""
        return self._say(number, source, "GET /large HTTP/1.1\r\nHost: {name}\r\n\r\n")


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1] == "hostile":
        os.nice(5)  # the relay, its tenants and the honest visitors come first
        asyncio.run(Hostile(json.loads(sys.argv[2])).attack(int(sys.argv[3])))
        return
    if sys.argv[1] == "tenants":
        asyncio.run(_be_tenants(json.loads(sys.argv[2])))
        return
    with TemporaryDirectory() as directory:
        result = asyncio.run(measure(Path(directory), int(sys.argv[1]), float(sys.argv[2])))
    print(f"attackers: {result.hostile} connections at one time, {result.rate:.0f} opened a second")
    for name, times in (("undisturbed", result.undisturbed), ("attacked", result.attacked)):
        middle, most = (_percentile(times, percent) * 1000 for percent in (50, 99))
        print(f"{name}: {middle:.0f} ms, 99 %: {most:.0f} ms, of {len(times)}")
    print(f"answered within {result.limit * 1000:.0f} ms: {result.in_time:.2%}")
    print(f"logged in: {result.logged_in:.2%} of {len(result.logins)}")
    print(f"memory of the relay: {result.memory / 1e6:.0f} MB; busy: {result.busy:.0%}; "
          f"without a CPU: {result.starved:.0%}; lines in its log: {result.lines}")  # fmt: skip


if __name__ == "__main__":
    main()
