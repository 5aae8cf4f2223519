"""The question to the agent's local page, and answers that are none."""

from __future__ import annotations

import json

import anyio
import pytest
from anyio.abc import SocketStream
from prx_tunnel_ngrok.connection import agent_answers

from prx_tunnel_core.models import Check

pytestmark = pytest.mark.anyio


async def asked(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[Check, bytes]:
    """The check made of that answer, and the question."""
    monkeypatch.setattr("prx_tunnel_ngrok.connection.ANSWER", 2.0)
    heard: list[bytes] = []

    async def serve(stream: SocketStream) -> None:
        async with stream:
            heard.append(await stream.receive())
            await stream.send(answer)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        check = await agent_answers(f"127.0.0.1:{port}")
        tasks.cancel_scope.cancel()
    return check, heard[0]


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (ok(json.dumps({"status": "online", "session": {"legs": []}}).encode()), "ok"),
        (ok(json.dumps({"status": "reconnecting"}).encode()), "unknown"),
        (ok(b'{"status":' * 20_000), "ok"),
        (ok(b"[]"), "ok"),
        (ok(b"\xff"), "ok"),
        (ok(b""), "ok"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "ok"),  # before 3.9
        (b'HTTP/1.1 401 Unauthorized\r\n\r\nRejected host "127.0.0.1".', "ok"),
        (b"SSH-2.0-OpenSSH\r\n", "fail"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 100_000, "fail"),
    ],
)
async def test_an_answer(answer: bytes, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check, question = await asked(answer, monkeypatch)
    assert check.verdict == verdict
    assert question.startswith(b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_nobody_is_there(busy_port: int) -> None:
    check = await agent_answers(f"127.0.0.1:{busy_port + 1}")
    assert check.verdict == "fail"
    assert "refused" in check.detail
