"""Requests and responses that lead nowhere, or that two parsers would read in two ways."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.settings import Site
from prx_tunnel_ssh.relay.web import Web
from ssh_programs import PATIENCE, App, StandaloneRelay, listening
from ssh_sites import CLOSE, SITE, host_of, open_site, request, site_port, speak

from prx_tunnel_core.backend import Target

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("nobody.t.test"), 404),
        (request("t.test"), 404),
        (request("a.b.t.test"), 404),
        (request("evil.test"), 404),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.t.test\r\nHost: b.t.test\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 404),
        (b"\x16\x03\x01 not http\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.t.test\r\nX: " + b"y" * 70_000, 431),
        (b"POST / HTTP/1.1\r\nHost: a.t.test\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a.t.test\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a.t.test\r\n folded: x\r\n: y\r\n\r\n", 400),
    ],
)
async def test_what_leads_nowhere(site: int, sent: bytes, status: int) -> None:
    answer = await speak(site, sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"prx-tunnel relay: " in answer


@pytest.fixture
async def site() -> AsyncIterator[int]:
    """The port of the sites of a relay in this process, that has none at the moment."""
    web = Web(Site("t.test", "http://{name}.t.test"), lambda _: None, Log())
    await web.listen("127.0.0.1", 0, None)
    yield web.port
    await web.end()


async def test_the_relay_is_no_proxy(relay: StandaloneRelay, app: App) -> None:
    async with relay.here(*SITE) as program, open_site(relay, app.target) as connection:
        host = host_of(connection)
        sent = f"CONNECT {host}:80 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        answer = await speak(await site_port(program), sent)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"this is no proxy\n")
    assert app.requests == []


async def test_a_request_cannot_hide_in_the_body_of_another(
    relay: StandaloneRelay, app: App
) -> None:
    """What one parser may read in one way and the next in another, is not passed on at all."""
    hidden = request("admin.t.test", "X-Hidden: 1\r\n")
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    async with relay.here(*SITE) as program, open_site(relay, app.target) as connection:
        for more in (
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Content-Length: +4\r\n",
        ):
            sent = request(host_of(connection), more) + chunked
            answer = await speak(await site_port(program), sent)
            assert answer[9:12] in {b"400", b"501"}, more
    assert app.requests == []


async def test_a_response_with_two_framings_has_one_when_it_arrives(
    relay: StandaloneRelay,
) -> None:
    async def twofold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")  # fmt: skip
        writer.close()

    async with (
        listening(twofold) as target,
        relay.here(*SITE) as program,
        open_site(relay, target) as connection,
    ):
        answer = await speak(await site_port(program), request(host_of(connection), CLOSE))
    assert b"content-length" not in answer.lower()
    assert answer.endswith(b"2\r\nok\r\n0\r\n\r\n")


async def test_nothing_listens_at_the_other_end(relay: StandaloneRelay, unused_port: int) -> None:
    async with (
        relay.here(*SITE) as program,
        open_site(relay, Target("127.0.0.1", unused_port)) as connection,
    ):
        answer = await speak(await site_port(program), request(host_of(connection)))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"prx-tunnel-relay: 502" in answer


async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(
    relay: StandaloneRelay,
) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        writer.close()

    async with (
        listening(break_off) as target,
        relay.here(*SITE) as program,
        open_site(relay, target) as connection,
    ):
        answer = await speak(await site_port(program), request(host_of(connection)))
    assert b"half" in answer
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_slow_visitor_gets_everything(relay: StandaloneRelay) -> None:
    body = bytes(range(256)) * 65_536  # 16 MiB: more than all buffers hold

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with (
        listening(answer) as target,
        relay.here(*SITE) as program,
        open_site(relay, target) as connection,
    ):
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        slow.connect(("127.0.0.1", await site_port(program)))
        reader, writer = await asyncio.open_connection(sock=slow)
        writer.write(request(host_of(connection), CLOSE))
        received = bytearray()
        async with asyncio.timeout(PATIENCE):
            while data := await reader.read(65_536):
                received += data
                await asyncio.sleep(0.001)
        assert bytes(received).partition(b"\r\n\r\n")[2] == body
        writer.close()


async def test_an_answer_may_come_before_the_end_of_the_request(relay: StandaloneRelay) -> None:
    answered = asyncio.Event()

    async def too_large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        await answered.wait()  # and reads no more
        writer.transport.abort()

    async with (
        listening(too_large) as target,
        relay.here(*SITE) as program,
        open_site(relay, target) as connection,
    ):
        sent = request(host_of(connection), body=bytes(4_000_000))
        answer = await speak(await site_port(program), sent)
        answered.set()
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_t01_after_an_upgrade_each_direction_ends_by_itself(relay: StandaloneRelay) -> None:
    """A visitor that has said everything still gets the answer, however large the question."""

    async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
        )
        writer.write((await reader.read(-1))[::-1])
        writer.close()

    question = bytes(range(256)) * 8192
    async with (
        asyncio.timeout(PATIENCE),
        listening(reverse) as target,
        relay.here(*SITE) as program,
        open_site(relay, target) as connection,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", await site_port(program))
        writer.write(request(host_of(connection), "Connection: Upgrade\r\nUpgrade: x\r\n"))
        writer.write(question)
        writer.write_eof()
        answer = await reader.read(-1)
        assert answer.partition(b"\r\n\r\n")[2] == question[::-1]
        writer.close()


async def test_t01_what_an_upgraded_visitor_said_last_arrives(relay: StandaloneRelay) -> None:
    """Although the program has ended its own direction, and reads slowly."""
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
        )
        writer.write_eof()
        await received.put(await reader.read(-1))
        writer.close()

    async with (
        asyncio.timeout(PATIENCE),
        listening(listen) as target,
        relay.here(*SITE) as program,
        open_site(relay, target) as connection,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", await site_port(program))
        writer.write(request(host_of(connection), "Connection: Upgrade\r\nUpgrade: x\r\n"))
        assert b"101" in await reader.read(-1)
        writer.write(b"y" * 3_000_000)
        writer.write_eof()
        assert await received.get() == b"y" * 3_000_000
        writer.close()
