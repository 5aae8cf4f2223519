"""The server of the inbox: signatures, malformed requests, and clients that occupy places."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
import anyio.abc
import httpx
import pytest

from prx_tunnel_core._cli.agent import inbox
from prx_tunnel_core._health.probe import MARK, Prober, marked, take_mark

pytestmark = pytest.mark.anyio

PROMPT = 20.0  # seconds for what takes milliseconds here, and 30 where it has to wait
HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"

IDLE = {
    "silent": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
}


@pytest.fixture
def arrived() -> list[inbox.Webhook]:
    return []


async def connect(port: int, stack: AsyncExitStack, sent: bytes) -> anyio.abc.SocketStream:
    stream = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
    if sent:
        await stream.send(sent)
    return stream


@pytest.mark.parametrize("sent", IDLE.values(), ids=IDLE)
async def test_s16_idle_connections_make_way(arrived: list[inbox.Webhook], sent: bytes) -> None:
    async with inbox.listen(None, arrived.append) as port, AsyncExitStack() as stack:
        for _ in range(2 * inbox.MOST_CLIENTS):
            await connect(port, stack, sent)
        with anyio.fail_after(PROMPT):
            for _ in range(5):
                stream = await connect(port, stack, HELLO)
                assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")
    assert [each.path for each in arrived] == ["/hello"] * 5


async def test_s16_who_has_sent_a_head_stays_when_silent_ones_come(
    arrived: list[inbox.Webhook],
) -> None:
    async with inbox.listen(None, arrived.append) as port, AsyncExitStack() as stack:
        slow = await connect(port, stack, IDLE["half a body"])
        for _ in range(2 * inbox.MOST_CLIENTS):
            await connect(port, stack, b"")
        with anyio.fail_after(PROMPT):
            stream = await connect(port, stack, HELLO)
            await stream.receive()
            await slow.send(b" more")
            assert (await slow.receive()).startswith(b"HTTP/1.1 200 ")


async def test_s16_a_head_has_a_deadline(
    arrived: list[inbox.Webhook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "HEAD_PATIENCE", 0.05)
    async with inbox.listen(None, arrived.append) as port, AsyncExitStack() as stack:
        stream = await connect(port, stack, IDLE["half a head"])
        with anyio.fail_after(PROMPT), pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_s16_our_own_health_check_is_recognised_once() -> None:
    with marked() as header:
        assert not take_mark("")
        assert take_mark(header[MARK])
        assert not take_mark(header[MARK])
    with marked() as header:
        pass
    assert not take_mark(header[MARK])


async def test_s16_the_inbox_shows_everything_but_our_own_health_check(
    capsys: pytest.CaptureFixture[str],
) -> None:
    prober = Prober()
    async with inbox.listen(None, inbox.show) as port, AsyncExitStack() as stack:
        check, _ = await prober.public(f"http://127.0.0.1:{port}", connected_for=60)
        assert check.verdict == "ok"
        assert capsys.readouterr().out == ""
        stream = await connect(port, stack, HELLO)
        await stream.receive()
        assert capsys.readouterr().out == "GET /hello (no content type, 0 bytes)\n"
    await prober.aclose()


@pytest.mark.parametrize(
    ("signature", "status"),
    [("right", 202), ("none", 401), ("of other bytes", 401), ("sha1", 401), ("upper case", 401)],
)
async def test_with_a_secret_it_takes_only_what_is_signed(
    arrived: list[inbox.Webhook], signature: str, status: int
) -> None:
    body = b'{"ref": "refs/heads/main"}'
    right = inbox.sign(b"secret", body)
    values = {
        "right": right,
        "none": "",
        "of other bytes": inbox.sign(b"secret", body + b" "),
        "sha1": "sha1=" + right[7:47],
        "upper case": right.upper(),
    }
    async with inbox.listen(b"secret", arrived.append) as port, httpx.AsyncClient() as client:
        answer = await client.post(
            f"http://127.0.0.1:{port}/hook",
            content=body,
            headers={inbox.SIGNATURE: values[signature]},
        )
    assert answer.status_code == status
    (webhook,) = arrived
    assert (webhook.body, webhook.verified) == (body, status == 202)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"garbage\r\n\r\n", b""),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", b""),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 204"),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1200000\r\n\r\n" + b"x" * 1_200_000,
            b"HTTP/1.1 413",
        ),
    ],
    ids=["garbage", "half a body", "no body", "too large"],
)
async def test_it_survives_whatever_is_sent(
    arrived: list[inbox.Webhook], sent: bytes, answer: bytes
) -> None:
    async with inbox.listen(b"secret", arrived.append) as port:
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            try:
                await client.send(sent)
                await client.send_eof()
                received = await client.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                received = b""
            assert received.startswith(answer)
        async with httpx.AsyncClient() as http:  # it still serves
            assert (await http.get(f"http://127.0.0.1:{port}/")).status_code == 204
    assert arrived == []
