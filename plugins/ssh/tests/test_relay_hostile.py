"""Strangers that mean no good, with small limits; `relay_load.py` does the same with large ones."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import trustme
from prx_tunnel_ssh.config import SshConfig
from prx_tunnel_ssh.connect import connect
from prx_tunnel_ssh.forwarding import WINDOW, End
from prx_tunnel_ssh.relay.listening import listen
from prx_tunnel_ssh.relay.log import Log
from ssh_programs import PATIENCE, App, StandaloneRelay, listening, make_key
from ssh_sites import CLOSE, SITE, certificate_in, host_of, open_site, request, site_port

pytestmark = pytest.mark.anyio

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Strangers:
    """Connections from many addresses of the loopback."""

    def __init__(self) -> None:
        self.streams: list[Streams] = []

    async def connect(self, port: int, source: str, said: bytes = b"", **more: Any) -> Streams:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=(source, 0), **more
        )
        writer.write(said)
        self.streams.append((reader, writer))
        return reader, writer

    async def left(self) -> int:
        """How many the relay has not closed."""
        ended = await asyncio.gather(*(_has_ended(reader) for reader, _ in self.streams))
        return ended.count(False)

    async def until_left(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.left() != count:
                await asyncio.sleep(0.01)


async def _has_ended(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(0.02):
            while await reader.read(65_536):
                pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


@pytest.fixture
async def strangers() -> AsyncIterator[Strangers]:
    strangers = Strangers()
    yield strangers
    for _, writer in strangers.streams:
        writer.transport.abort()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def status(port: int, host: str, source: str = "127.0.0.1", **tls: Any) -> int:
    """Of an honest visitor's request."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=(source, 0), **tls
        )
        writer.write(request(host, CLOSE))
        try:
            return int((await reader.readuntil(b"\r\n\r\n")).split()[1])
        except asyncio.IncompleteReadError:
            return 0
        finally:
            writer.transport.abort()


@asynccontextmanager
async def another_tenant(relay: StandaloneRelay, app: App, path: Path) -> AsyncIterator[str]:
    """The host name of a second tenant's site."""
    key = make_key(path)
    relay.authorize(relay.client_key, key)
    async with open_site(relay, app.target, identity_file=str(key)) as connection:
        yield host_of(connection)


async def test_s02_silent_connections_are_counted_before_tls(
    relay: StandaloneRelay, app: App, tmp_path: Path, strangers: Strangers
) -> None:
    authority = trustme.CA()
    certificate_in(tmp_path / "tls.pem", authority)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    limits = ("--visitors-in-all", "12", "--visitors-per-address", "6")
    async with (
        relay.here(*SITE, "--certificate", str(tmp_path / "tls.pem"), *limits) as program,
        open_site(relay, app.target) as connection,
    ):
        port, host = await site_port(program), host_of(connection)
        for _ in range(20):
            await strangers.connect(port, "127.0.0.9")
        await strangers.until_left(6)
        for number in range(20):
            await strangers.connect(port, f"127.0.1.{number}")
        await strangers.until_left(12)
        assert await status(port, host, ssl=context, server_hostname=host) == 200


async def test_s03_connections_without_a_request_are_refused_in_the_end(
    relay: StandaloneRelay, app: App, strangers: Strangers
) -> None:
    limits = ("--wasted-per-minute", "3")
    async with relay.here(*SITE, *limits) as program, open_site(relay, app.target) as connection:
        port, host = await site_port(program), host_of(connection)
        for _ in range(6):  # whoever gets an answer wastes nothing, be it 404
            assert await status(port, host) == 200
            assert await status(port, "other.t.test") == 404
        async with asyncio.timeout(PATIENCE):
            while not any("visitor refused" in line for line in program.lines):
                _, writer = await strangers.connect(port, "127.0.0.9")
                writer.close()
        assert await status(port, host, source="127.0.0.9") == 0
        assert await status(port, host) == 200


async def test_s02_a_handshake_has_a_deadline(
    relay: StandaloneRelay, tmp_path: Path, strangers: Strangers
) -> None:
    authority = trustme.CA()
    certificate_in(tmp_path / "tls.pem", authority)
    pem = str(tmp_path / "tls.pem")
    async with relay.here(*SITE, "--certificate", pem, "--head-seconds", "0.2") as program:
        port = await site_port(program)
        await strangers.connect(port, "127.0.0.9")
        await strangers.connect(port, "127.0.0.9", b"\x16\x03\x01\x02\x00\x01\x00")
        await strangers.until_left(0)


@pytest.mark.parametrize("moment", ["handshake", "head", "body"])
async def test_s02_a_tls_visitor_that_disconnects_writes_no_traceback(
    relay: StandaloneRelay, app: App, tmp_path: Path, moment: str
) -> None:
    """An exception that a task does not handle is logged by asyncio, with its traceback."""
    authority = trustme.CA()
    certificate_in(tmp_path / "tls.pem", authority)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    unhandled: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, details: unhandled.append(details))
    async with (
        relay.here(*SITE, "--certificate", str(tmp_path / "tls.pem")) as program,
        open_site(relay, app.target) as connection,
        asyncio.timeout(PATIENCE),
    ):
        port, host = await site_port(program), host_of(connection)
        before = asyncio.all_tasks()
        tls: dict[str, Any] = {"ssl": context, "server_hostname": host}
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, **({} if moment == "handshake" else tls)
        )
        if moment == "handshake":
            writer.write(b"\x16\x03\x01\x02\x00\x01\x00")
        elif moment == "head":
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nX: ".encode())
        else:
            writer.write(request(host, "Content-Length: 1000\r\n"))
            while not app.requests:
                await asyncio.sleep(0.01)
        while not asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # until the relay has read it
        writer.transport.abort()
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)
    gc.collect()
    assert unhandled == []


async def test_s03_slow_bodies_of_one_address_leave_room_for_another(
    relay: StandaloneRelay, app: App, strangers: Strangers
) -> None:
    async with (
        relay.here(*SITE, "--visitors", "8") as program,
        open_site(relay, app.target) as connection,
    ):
        port, host = await site_port(program), host_of(connection)
        head = request(host, "Content-Length: 1000\r\n")
        for _ in range(8):
            await strangers.connect(port, "127.0.0.9", head)
        while len(app.requests) < 8:
            await asyncio.sleep(0.01)
        assert await status(port, host) == 200
        assert await strangers.left() == 7
        for _ in range(8):
            await strangers.connect(port, "127.0.0.9", head)
        assert await status(port, host) == 200


async def test_s03_half_heads_leave_room_for_others(
    relay: StandaloneRelay, app: App, strangers: Strangers
) -> None:
    async with (
        relay.here(*SITE, "--visitors-in-all", "10") as program,
        open_site(relay, app.target) as connection,
    ):
        port, host = await site_port(program), host_of(connection)
        for number in range(30):
            said = f"GET / HTTP/1.1\r\nHost: {host}\r\nX: ".encode()
            await strangers.connect(port, f"127.0.1.{number % 3}", said)
        await strangers.until_left(10)
        for _ in range(5):
            assert await status(port, host) == 200


@pytest.mark.parametrize(
    ("limit", "sent", "answer"),
    [
        ("--head-seconds", b"GET / HTTP/1.1\r\n", b""),
        ("--stall-seconds", b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 9\r\n\r\n", b" 408 "),
        ("--idle-seconds", b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n", b" 200 "),
    ],
)
async def test_s03_a_visitor_that_is_too_slow_is_ended(
    relay: StandaloneRelay, app: App, strangers: Strangers, limit: str, sent: bytes, answer: bytes
) -> None:
    async with (
        relay.here(*SITE, limit, "0.3") as program,
        open_site(relay, app.target) as connection,
        asyncio.timeout(PATIENCE),
    ):
        host = host_of(connection).encode()
        said = sent.replace(b"%s", host)
        reader, _ = await strangers.connect(await site_port(program), "127.0.0.9", said)
        assert answer in await reader.read(-1)


async def test_s03_a_body_that_trickles_is_too_slow(
    relay: StandaloneRelay, app: App, strangers: Strangers
) -> None:
    """One byte now and then buys no time."""
    async with (
        relay.here(*SITE, "--stall-seconds", "0.5") as program,
        open_site(relay, app.target) as connection,
        asyncio.timeout(PATIENCE),
    ):
        said = request(host_of(connection), "Content-Length: 1000\r\n")
        reader, writer = await strangers.connect(await site_port(program), "127.0.0.9", said)
        answer = asyncio.ensure_future(reader.read(-1))
        while not answer.done():
            writer.write(b"x")
            await asyncio.sleep(0.05)
        assert b" 408 " in await answer


async def test_s03_a_visitor_that_reads_nothing_is_ended(
    relay: StandaloneRelay, strangers: Strangers
) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n")
        with suppress(OSError):
            while True:
                writer.write(bytes(65_536))
                await writer.drain()
        writer.close()
        ended.set()

    ended = asyncio.Event()
    async with (
        listening(flood) as target,
        relay.here(*SITE, "--stall-seconds", "0.3") as program,
        open_site(relay, target) as connection,
        asyncio.timeout(PATIENCE),
    ):
        said = request(host_of(connection))
        _, writer = await strangers.connect(await site_port(program), "127.0.0.9", said)
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.pause_reading()
        await ended.wait()


async def test_s03_a_program_that_does_not_answer_is_given_up(
    relay: StandaloneRelay, strangers: Strangers
) -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    async with (
        listening(wait) as target,
        relay.here(*SITE, "--response-seconds", "0.3") as program,
        open_site(relay, target) as connection,
    ):
        assert await status(await site_port(program), host_of(connection)) == 504


async def test_s03_a_request_that_takes_long_to_arrive_does_not_count_against_the_program(
    relay: StandaloneRelay, app: App, strangers: Strangers
) -> None:
    async with (
        relay.here(*SITE, "--response-seconds", "0.3") as program,
        open_site(relay, app.target) as connection,
        asyncio.timeout(PATIENCE),
    ):
        said = request(host_of(connection), "Connection: close\r\nContent-Length: 10\r\n")
        reader, writer = await strangers.connect(await site_port(program), "127.0.0.9", said)
        for _ in range(10):
            await asyncio.sleep(0.1)
            writer.write(b"x")
        assert (await reader.read(-1)).endswith(b"\r\n\r\nxxxxxxxxxx")


@asynccontextmanager
async def refusing_to_answer(relay: StandaloneRelay, port: int) -> AsyncIterator[int]:
    """A tenant that never answers for a channel; the port that it was given."""
    never = asyncio.Event()

    async def session(_host: str, _port: int) -> asyncssh.SSHTCPSession[bytes]:
        await never.wait()
        raise asyncssh.ChannelOpenError(1, "at last")

    connection = await asyncssh.connect(
        "127.0.0.1", relay.port, username="x", client_keys=[str(relay.client_key)],
        known_hosts=None, config=None, agent_path=None,
    )  # fmt: skip
    try:
        listener = await connection.create_server(session, "localhost", port, encoding=None)
        yield listener.get_port()
    finally:
        never.set()
        connection.abort()
        await connection.wait_closed()


async def test_s03_a_tenant_that_never_accepts_a_visitor(
    relay: StandaloneRelay, app: App, tmp_path: Path, strangers: Strangers
) -> None:
    limits = ("--channel-seconds", "0.3", "--visitors", "5", "--visitors-in-all", "8")
    async with (
        relay.here(*SITE, *limits) as program,
        another_tenant(relay, app, tmp_path / "honest") as honest,
        refusing_to_answer(relay, 80),
    ):
        port = await site_port(program)
        urls = [line for line in program.lines if "forwarding" in line and "url=" in line]
        name = urls[-1].partition("//")[2].partition(":")[0]
        for number in range(40):
            await strangers.connect(port, f"127.0.1.{number}", request(name))
            if number % 10 == 0:
                assert await status(port, honest) == 200
        await strangers.until_left(0)
        # Those that it has not answered stay counted, so that they are bounded, too.
        assert await status(port, name) == 504
        assert await status(port, honest) == 200


async def test_s03_a_port_that_never_accepts_a_visitor(
    relay: StandaloneRelay, strangers: Strangers
) -> None:
    async with relay.here("--channel-seconds", "0.2"), refusing_to_answer(relay, 0) as port:
        await strangers.connect(port, "127.0.0.9", b"hello")
        await strangers.until_left(0)


async def test_s03_the_longest_idle_visitor_of_a_port_makes_room(
    relay: StandaloneRelay, app: App, strangers: Strangers
) -> None:
    async with (
        relay.here("--visitors", "4"),
        another_port(relay, app) as port,
    ):
        for _ in range(4):
            await strangers.connect(port, "127.0.0.9")
        for _ in range(3):
            assert await status(port, "any") == 200


@asynccontextmanager
async def another_port(relay: StandaloneRelay, app: App) -> AsyncIterator[int]:
    async with connect(SshConfig(**relay.settings()), app.target) as connection:
        yield int(connection.public_url.rpartition(":")[2])


async def test_s08_honest_logins_get_through_beside_silent_addresses(
    relay: StandaloneRelay, strangers: Strangers
) -> None:
    limits = ("--startups", "20", "--startups-per-address", "4", "--new-per-minute", "600")
    async with relay.here(*limits) as program:

        async def attack(number: int) -> None:
            for _ in range(6):
                await strangers.connect(relay.port, f"127.0.2.{number}")

        await asyncio.gather(*(attack(number) for number in range(40)))
        for _ in range(15):
            connection = await asyncssh.connect(
                "127.0.0.1", relay.port, username="x", client_keys=[str(relay.client_key)],
                known_hosts=None, config=None, agent_path=None,
            )  # fmt: skip
            connection.abort()
            await connection.wait_closed()
        assert await strangers.left() <= 20
        await program.line("too many have not logged in")


async def test_s10_the_kernel_takes_little_for_a_visitor_that_reads_nothing() -> None:
    """Bytes that the kernel accepts have passed through the tunnel and been encrypted in vain."""
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()

    def accept(connection: socket.socket, _address: tuple[str, int]) -> bool:
        accepted.put_nowait(connection)
        return True

    listener = await listen("127.0.0.1", 0, accept, Log(), buffers=WINDOW)
    try:
        with socket.socket() as visitor:
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            visitor.connect(("127.0.0.1", listener.port))
            with await accepted.get() as connection:
                taken = 0
                with suppress(BlockingIOError):
                    while taken < 10 * WINDOW:
                        taken += connection.send(bytes(4096))
        assert taken < WINDOW // 2
    finally:
        listener.close()


async def test_s10_the_window_is_set_on_both_sides(relay: StandaloneRelay, app: App) -> None:
    made: list[Any] = []
    opened = End.connection_made

    def note(self: End, transport: Any) -> None:
        opened(self, transport)
        if isinstance(transport, asyncssh.SSHTCPChannel):
            made.append(transport)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(End, "connection_made", note)
        async with relay.here(), another_port(relay, app) as port:
            assert await status(port, "any") == 200
    assert sorted(channel.get_recv_window() for channel in made) == [WINDOW, 2 * WINDOW]


@pytest.mark.parametrize("kind", ["port", "site"])
async def test_s10_a_guest_that_grants_much_and_reads_nothing(
    relay: StandaloneRelay, strangers: Strangers, kind: str
) -> None:
    """The windows of its channels are its own choice: what they hold back is not enough."""
    async with relay.here(*SITE) as program, asyncio.timeout(PATIENCE):
        connection = await asyncssh.connect(
            "127.0.0.1", relay.port, username="x", client_keys=[str(relay.client_key)],
            known_hosts=None, config=None, agent_path=None,
        )  # fmt: skip
        listener = await connection.create_server(
            lambda _host, _port: asyncssh.SSHTCPSession(), "localhost",
            0 if kind == "port" else 80, encoding=None, window=1 << 30,
        )  # fmt: skip
        if kind == "port":
            port, head = listener.get_port(), b""
        else:
            urls = [line for line in program.lines if "forwarding" in line and "url=" in line]
            name = urls[-1].partition("//")[2].partition(":")[0]
            port = await site_port(program)
            head = request(name, "Content-Length: 99999999\r\n")
        for _ in range(8):
            await strangers.connect(port, "127.0.0.9", head)
        await asyncio.sleep(0.2)  # the channels are open
        connection._transport.pause_reading()  # type: ignore[union-attr]
        sent = 0
        still = 0
        while still < 20:
            before = sent
            for _, writer in strangers.streams:
                if writer.transport.get_write_buffer_size() == 0:
                    writer.write(bytes(262_144))
                    sent += 262_144
            await asyncio.sleep(0.01)
            still = still + 1 if sent == before else 0
            assert sent < 100_000_000
        connection.abort()
        await connection.wait_closed()


async def test_visitors_wait_at_no_guest_that_has_gone(relay: StandaloneRelay) -> None:
    """The unanswered channels of a connection end with it."""
    async with relay.here("--channel-seconds", "30"), AsyncExitStack() as stack:
        port = await stack.enter_async_context(refusing_to_answer(relay, 0))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.1)
        await stack.aclose()
        async with asyncio.timeout(PATIENCE):
            assert await reader.read(-1) == b""
        writer.transport.abort()
