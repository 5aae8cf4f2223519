"""Web sites by host name."""

from __future__ import annotations

import asyncio
import signal
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from ssh_programs import PATIENCE, App, StandaloneRelay, find_program, listening, make_key, run
from ssh_sites import CLOSE, SITE, host_of, open_site, request, site_port, speak

from prx_tunnel_core.errors import SetupError

pytestmark = pytest.mark.anyio


async def test_the_url_is_announced_and_stays(
    relay: StandaloneRelay, app: App, http: httpx.AsyncClient
) -> None:
    body = bytes(range(256)) * 20_480  # 5 MiB
    async with relay.here(*SITE) as program:
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
    async with relay.here(*SITE) as program, open_site(relay, app.target) as connection:
        more = "X-Hub-Signature-256: sha256=AbC\r\nConnection: X-Secret, close\r\nX-Secret: 1\r\n"
        await speak(await site_port(program), request(host_of(connection), more, b"{}"))
    (head,) = app.requests
    assert head.startswith(b"POST /hook?a=b HTTP/1.1\r\nHost: " + host_of(connection).encode())
    assert b"\r\nX-Hub-Signature-256: sha256=AbC\r\n" in head
    assert b"X-Secret" not in head


# RFC 9110, section 7.6.1.
@pytest.mark.parametrize(
    ("header", "times"),
    [
        ("Keep-Alive: timeout=5", 0),
        ("Proxy-Connection: keep-alive", 0),
        ("TE: trailers", 0),
        ("Connection: X-Other", 0),
        ("Upgrade: h2c", 1),  # which the relay asks of the program for itself
    ],
)
async def test_a_header_of_one_connection_is_not_passed_on(
    relay: StandaloneRelay, app: App, header: str, times: int
) -> None:
    async with relay.here(*SITE) as program, open_site(relay, app.target) as connection:
        more = f"{header}\r\nX-Last: 1\r\n{CLOSE}"
        await speak(await site_port(program), request(host_of(connection), more, b"{}"))
    (head,) = app.requests
    assert b"\r\nX-Last: 1\r\n" in head
    assert head.count(header.encode()) == times
    assert head.count(b"\r\nConnection: ") == 1


async def test_what_frames_and_routes_a_request_cannot_be_removed_by_its_sender(
    relay: StandaloneRelay, app: App
) -> None:
    async with relay.here(*SITE) as program, open_site(relay, app.target) as connection:
        more = "Connection: close, Host, Content-Length\r\n"
        await speak(await site_port(program), request(host_of(connection), more, b"{}"))
    (head,) = app.requests
    assert b"\r\nHost: " + host_of(connection).encode() in head
    assert b"\r\nContent-Length: 2\r\n" in head


async def test_each_request_goes_where_its_own_host_says(relay: StandaloneRelay, app: App) -> None:
    """A proxy in front uses one connection for the visitors of many tunnels."""
    other = App()
    async with (
        listening(other.answer) as target,
        relay.here(*SITE) as program,
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
        relay.here(*SITE) as program,
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
        relay.here(*SITE) as program,
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
        program.process.send_signal(signal.SIGHUP)
        await program.line("certificate read")
        certificate.unlink()
        program.process.send_signal(signal.SIGHUP)
        await program.line("certificate unreadable")


@pytest.mark.parametrize("own_file", [False, True])
async def test_s05_a_key_of_the_certificate_that_others_can_read(
    relay: StandaloneRelay, tmp_path: Path, own_file: bool
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path in (certificate, key):
        path.touch(0o644)
    files = ["--certificate", str(certificate), *(["--key", str(key)] if own_file else [])]
    with pytest.raises(SetupError, match=f"; run: chmod 600 {key if own_file else certificate}$"):
        async with relay.here(*SITE, *files):
            pass


async def test_another_key_cannot_have_the_name(
    relay: StandaloneRelay, app: App, tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other")
    relay.authorize(relay.client_key, other)
    async with relay.here(*SITE), open_site(relay, app.target) as first:
        theirs = host_of(first).partition(".")[0]
        async with open_site(
            relay, app.target, identity_file=str(other), remote_host=theirs
        ) as second:
            assert host_of(second) != host_of(first)
            assert host_of(second).startswith(theirs + "-")
