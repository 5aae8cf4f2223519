"""Whatever a visitor sends and a file of keys has: one request is passed on as one, or refused."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import anyio
import asyncssh
import h11
import pytest
from anyio.abc import ByteStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prx_tunnel_ssh.congestion import Congestion
from prx_tunnel_ssh.relay.channel import Channel
from prx_tunnel_ssh.relay.exchange import exchange
from prx_tunnel_ssh.relay.keys import AuthorizedKeys
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.settings import Limits
from prx_tunnel_ssh.relay.visit import Visit
from typing_extensions import override

fuzz = settings(
    max_examples=int(os.environ.get("PRX_TUNNEL_FUZZ_EXAMPLES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

HEADS = [
    b"GET / HTTP/1.1\r\n",
    b"POST /x HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"GET http://b/ HTTP/1.1\r\n",
]
FIELDS = [
    b"Host: a\r\n", b"Host: b\r\n", b"Content-Length: 5\r\n", b"Content-Length: 5, 5\r\n",
    b"Content-Length: +5\r\n", b"Content-Length: 6\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n", b"Connection: content-length, host\r\n",
    b"Connection: transfer-encoding\r\n", b"Connection: keep-alive\r\n", b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b" folded\r\n", b"X: a\nHost: c\r\n",
    b"X: a\rHost: c\r\n", b"X\x00: a\r\n", b"TE: trailers\r\n",
]  # fmt: skip
BODIES = [
    b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b'5;x="\n"\r\nhello\r\n', b"\r\n", b"\n",
    b"0\r\nX: y\r\n\r\n", b"-1\r\n",
]  # fmt: skip
WELL_FORMED = st.tuples(
    st.sampled_from(HEADS),
    st.just(b"Host: a\r\n"),
    st.lists(st.sampled_from(FIELDS), max_size=3).map(b"".join),
    st.just(b"\r\n"),
    st.lists(st.sampled_from(BODIES), max_size=3).map(b"".join),
).map(list)
ANYTHING = st.lists(st.sampled_from([*HEADS, *FIELDS, *BODIES]) | st.binary(max_size=9), max_size=9)


class Visitor(ByteStream):
    """Sends these pieces, then no more; takes what it is answered."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.answered = b""

    @override
    async def receive(self, max_bytes: int = 65536) -> bytes:
        await asyncio.sleep(0)
        if not self._pieces:
            raise anyio.EndOfStream
        return self._pieces.pop(0)

    @override
    async def send(self, item: bytes) -> None:
        self.answered += item

    @override
    async def send_eof(self) -> None:
        """Nothing more will come."""

    @override
    async def aclose(self) -> None:
        """Nothing is held."""


class App(Channel):
    """Answers once it has read a whole request, and keeps what was sent to it."""

    def __init__(self) -> None:
        self.received = b""
        self._http = h11.Connection(h11.SERVER)
        self._whole = asyncio.Event()
        self._congestion = Congestion()

    @override
    async def receive(self) -> bytes:
        await self._whole.wait()
        self._whole.clear()
        return b"HTTP/1.1 204 No Content\r\n\r\n"

    @override
    async def send(self, data: bytes) -> None:
        if not data:
            return
        self.received += data
        self._http.receive_data(data)
        while (event := self._http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.EndOfMessage):
                self._whole.set()


async def serve(pieces: list[bytes]) -> list[bytes]:
    """What arrives behind the tunnel, for each request of one visitor."""
    visit, arrived = Visit(Visitor(pieces), Limits(), lambda: None), []
    try:
        while (request := await visit.next_request()) is not None:
            names = [name for name, _ in request.headers]
            if {b"content-length", b"transfer-encoding"} <= {*names}:
                break  # which the web sites refuse
            app = App()
            again = await exchange(visit, request, app)
            arrived.append(app.received)
            if not again:
                break
    except h11.ProtocolError:
        pass
    return arrived


def what_follows(data: bytes) -> bytes:
    """What a reader that is not h11 takes for the next request; AssertionError when it is unclear.

    The visitor may have left within the body; nothing follows then.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end
    start, *fields = head.split(b"\r\n")
    assert start.count(b" ") == 2
    assert not any(c in head.replace(b"\r\n", b"") for c in (b"\r", b"\n", b"\x00"))
    named = [field.split(b":", 1) for field in fields]
    assert all(name and name == name.strip() for name, _ in named)
    lengths = [value.strip() for name, value in named if name.lower() == b"content-length"]
    codings = [value.strip() for name, value in named if name.lower() == b"transfer-encoding"]
    assert len(lengths) + len(codings) <= 1
    if codings:
        assert codings[0].lower() == b"chunked"
        return after_chunks(rest)
    return rest[int(lengths[0]) :] if lengths else rest


def after_chunks(rest: bytes) -> bytes:
    while rest:
        line, _, rest = rest.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            return (b"\r\n" + rest).partition(b"\r\n\r\n")[2]
        assert rest[size : size + 2] in (b"\r\n", b"\r", b"")
        rest = rest[size + 2 :]
    return b""


@fuzz
@given(st.tuples(WELL_FORMED, WELL_FORMED).map(lambda two: two[0] + two[1]) | ANYTHING)
def test_each_request_arrives_as_one_whatever_was_sent(pieces: list[bytes]) -> None:
    for data in asyncio.run(serve(pieces)):
        assert what_follows(data) == b"", data


KEY, OTHER = (asyncssh.generate_private_key("ssh-ed25519").convert_to_public() for _ in range(2))
LINE = KEY.export_public_key().decode().strip()
OPTIONS = st.lists(
    st.sampled_from([
        "restrict", "port-forwarding", "no-port-forwarding", "pty", 'from="192.0.2.0/24"',
        'from="!*"', "from=", 'permitopen="none"', 'command="a,b \\" c"', "unknown", ",", " ", '"',
    ]),
    max_size=5,
).map(",".join)  # fmt: skip
KEY_LINES = st.one_of(
    OPTIONS.map(lambda options: f"{options} {LINE}".encode()),
    st.text().map(lambda text: f"{text} {LINE}".encode()),
    st.integers(0, len(LINE)).map(lambda cut: LINE[:cut].encode()),
    st.binary(max_size=40),
    st.sampled_from(
        [b"", b"# comment", b"\xef\xbb\xbf", b"ssh-rsa AAAA", b"cert-authority " + LINE.encode()]
    ),
)


@fuzz
@given(st.lists(KEY_LINES, max_size=5).map(b"\n".join))
def test_only_a_key_that_is_there_is_let_in(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file: Path = tmp_path_factory.getbasetemp() / "authorized_keys"
    file.write_bytes(content)
    file.chmod(0o600)
    admits = AuthorizedKeys(file, Log())
    assert not admits(OTHER, "192.0.2.1")
    with_key = [line.strip() for line in content.split(b"\n") if LINE.encode() in line]
    if admits(KEY, "192.0.2.1"):
        assert not all(line.startswith((b"#", b"unknown ", b"from= ")) for line in with_key)
    else:
        assert not with_key or set(with_key) != {LINE.encode()}
