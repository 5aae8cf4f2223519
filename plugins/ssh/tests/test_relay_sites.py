"""Web sites by host name, on the relay as its own process."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prx_tunnel_ssh import connect
from prx_tunnel_ssh.config import SshConfig
from ssh_programs import (
    PATIENCE,
    App,
    Program,
    StandaloneRelay,
    find_program,
    listening,
    make_key,
    run,
)

from prx_tunnel_core.backend import Connection, Target

pytestmark = pytest.mark.anyio

SITE = ("--domain", "t.test", "--http", "127.0.0.1:0")
PATTERN = r"(https?://\S+)"


async def site_port(program: Program) -> int:
    line = await program.line("relay up")
    return int(line.partition("http=")[2].split()[0])


@asynccontextmanager
async def open_site(
    relay: StandaloneRelay, target: Target, **more: object
) -> AsyncIterator[Connection]:
    config = SshConfig(**relay.settings(remote_port=80, url_pattern=PATTERN, **more))
    async with asyncio.timeout(PATIENCE), connect(config, target) as connection:
        yield connection


def host_of(connection: Connection) -> str:
    return connection.public_url.partition("//")[2].partition(":")[0]


async def speak(port: int, *parts: bytes) -> bytes:
    """Everything that is answered to these bytes until the relay ends the connection."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in parts:
            writer.write(part)
            await writer.drain()
        answer = await reader.read(-1)
        writer.close()
        return answer


def request(host: str, more: str = "", body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"POST /hook?a=b HTTP/1.1\r\nHost: {host}\r\n{length}{more}\r\n".encode() + body


CLOSE = "Connection: close\r\n"


async def test_the_url_is_announced_and_stays(
    relay: StandaloneRelay, app: App, http: httpx.AsyncClient
) -> None:
    body = bytes(range(256)) * 20_480  # 5 MiB
    async with relay.serve(*SITE) as program:
        port = await site_port(program)
        async with open_site(relay, app.target) as connection:
            assert connection.public_url.endswith(f".t.test:{port}")
            headers = {"Host": host_of(connection)}
            url = f"http://127.0.0.1:{port}/hook"
            assert (await http.post(url, content=body, headers=headers)).content == body
            answers = await asyncio.gather(
                *(http.post(url, content=f"body {n}", headers=headers) for n in range(200))
            )
            assert [answer.text for answer in answers] == [f"body {n}" for n in range(200)]
        async with open_site(relay, app.target) as again:
            assert again.public_url == connection.public_url
        async with open_site(relay, app.target, remote_host="billing") as named:
            assert host_of(named) == f"billing-{host_of(connection)}"


async def test_openssh_s_client_is_told_the_url_and_nothing_else(
    relay: StandaloneRelay, app: App
) -> None:
    command = relay.ssh("-T", "-R", f"80:127.0.0.1:{app.target.port}", "127.0.0.1")
    async with relay.serve(*SITE) as program, run(command) as client:
        url = await client.line("http://")
        assert client.lines == [url]
        host = url.partition("//")[2].partition(":")[0]
        answer = await speak(await site_port(program), request(host, CLOSE, b"ping"))
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\nping")


async def test_requests_arrive_as_they_were_sent(relay: StandaloneRelay, app: App) -> None:
    async with relay.serve(*SITE) as program, open_site(relay, app.target) as connection:
        more = "X-Hub-Signature-256: sha256=AbC\r\nConnection: X-Secret, close\r\nX-Secret: 1\r\n"
        await speak(await site_port(program), request(host_of(connection), more, b"{}"))
    (head,) = app.requests
    assert head.startswith(b"POST /hook?a=b HTTP/1.1\r\nHost: " + host_of(connection).encode())
    assert b"\r\nX-Hub-Signature-256: sha256=AbC\r\n" in head
    assert b"X-Secret" not in head


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
    from prx_tunnel_ssh.relay.log import Log
    from prx_tunnel_ssh.relay.settings import Site
    from prx_tunnel_ssh.relay.web import Web

    web = Web(Site("t.test", "http://{name}.t.test"), lambda _: None, Log())
    await web.listen("127.0.0.1", 0, None)
    yield web.port
    await web.end()


async def test_each_request_goes_where_its_own_host_says(relay: StandaloneRelay, app: App) -> None:
    """A proxy in front uses one connection for the visitors of many tunnels."""
    other = App()
    async with (
        listening(other.answer) as target,
        relay.serve(*SITE) as program,
        open_site(relay, app.target) as first,
        open_site(relay, target, remote_host="second") as second,
    ):
        answer = await speak(
            await site_port(program),
            request(host_of(first), body=b"for the first"),
            request(host_of(second), body=b"for the second"),
            request(host_of(first), CLOSE, b"for the first again"),
        )
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert [b"Host: " + host_of(first).encode() in head for head in app.requests] == [True, True]
    assert [b"Host: " + host_of(second).encode() in head for head in other.requests] == [True]


async def test_a_request_cannot_hide_in_the_body_of_another(
    relay: StandaloneRelay, app: App
) -> None:
    """What one parser may read in one way and the next in another, is not passed on at all."""
    hidden = request("admin.t.test", "X-Hidden: 1\r\n")
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    async with relay.serve(*SITE) as program, open_site(relay, app.target) as connection:
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
        relay.serve(*SITE) as program,
        open_site(relay, target) as connection,
    ):
        answer = await speak(await site_port(program), request(host_of(connection), CLOSE))
    assert b"content-length" not in answer.lower()
    assert answer.endswith(b"2\r\nok\r\n0\r\n\r\n")


async def test_nothing_listens_at_the_other_end(relay: StandaloneRelay, unused_port: int) -> None:
    async with (
        relay.serve(*SITE) as program,
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
        relay.serve(*SITE) as program,
        open_site(relay, target) as connection,
    ):
        answer = await speak(await site_port(program), request(host_of(connection)))
    assert b"half" in answer
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_web_socket(relay: StandaloneRelay) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Connection: Upgrade" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     b"Connection: Upgrade\r\n\r\nhello")  # fmt: skip
        while data := await reader.read(1024):
            writer.write(data.upper())
        writer.close()

    async with (
        listening(echo) as target,
        relay.serve(*SITE) as program,
        open_site(relay, target) as connection,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", await site_port(program))
        upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        writer.write(request(host_of(connection), upgrade) + b"sent ahead ")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(16) == b"helloSENT AHEAD "
        writer.write(b"and after")
        assert await reader.readexactly(9) == b"AND AFTER"
        writer.close()


async def test_a_visitor_who_leaves_does_not_keep_the_program_busy(
    relay: StandaloneRelay,
) -> None:
    left = asyncio.Event()
    arrived = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        assert await reader.read(-1) == b""
        left.set()
        writer.close()

    async with (
        listening(wait) as target,
        relay.serve(*SITE) as program,
        open_site(relay, target) as connection,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", await site_port(program))
        writer.write(request(host_of(connection)))
        await arrived.wait()
        writer.close()
        await left.wait()


async def test_tls_by_a_given_certificate(relay: StandaloneRelay, app: App, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(  # noqa: ASYNC221
        [find_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=t.test",
         "-addext", "subjectAltName=DNS:*.t.test", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    files = ("--certificate", str(certificate), "--key", str(key))
    async with relay.serve(*SITE, *files) as program, open_site(relay, app.target) as connection:
        assert connection.public_url.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate))
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", await site_port(program), ssl=context,
                server_hostname=host_of(connection),
            )  # fmt: skip
            writer.write(request(host_of(connection), CLOSE, b"secret"))
            assert (await reader.read(-1)).endswith(b"secret")
            writer.close()


async def test_another_key_cannot_have_the_name(
    relay: StandaloneRelay, app: App, tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other")
    relay.authorize(relay.client_key, other)
    async with relay.serve(*SITE), open_site(relay, app.target) as first:
        theirs = host_of(first).partition(".")[0]
        async with open_site(
            relay, app.target, identity_file=str(other), remote_host=theirs
        ) as second:
            assert host_of(second) != host_of(first)
            assert host_of(second).startswith(theirs + "-")
