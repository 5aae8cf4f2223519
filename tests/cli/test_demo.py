"""`prx tunnel demo` as a newcomer runs it, and the small agent inside it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import anyio
import httpx
import pytest

from prx_tunnel_core._cli.agent import inbox

MAIN = "from prx_tunnel_core._cli import main; raise SystemExit(main())"
PRX = [sys.executable, "-W", "error", "-c", MAIN, "tunnel", "demo"]

STEPS = [
    "agent", "connected", "delivered", "cut", "reconnecting", "connected again", "delivered again",
    "health", "stopped", "nothing left",
]  # fmt: skip


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PRX, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_every_step_happens_within_fifteen_seconds() -> None:
    begun = time.monotonic()
    result = demo("--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert [step["step"] for step in report["steps"]] == STEPS
    assert report["ok"]
    times = [step["at"] for step in report["steps"]]
    assert times == sorted(times)
    assert times[-1] <= report["seconds"] <= time.monotonic() - begun < 15


def test_a_person_sees_each_step() -> None:
    result = demo()
    assert result.returncode == 0, result.stderr
    assert [line[10:26].strip() for line in result.stdout.splitlines()[:-1]] == STEPS
    assert "embedded relay: reachable from this machine only" in result.stdout
    assert "signature verified" in result.stdout


def test_a_backend_that_is_missing_fails_the_demo_with_the_fix() -> None:
    result = demo("--backend", "nowhere", "--json")
    assert result.returncode == 2
    assert result.stdout == ""
    assert "called prx-tunnel-nowhere" in result.stderr


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("signature", "status"),
    [("right", 202), ("none", 401), ("of other bytes", 401), ("sha1", 401), ("upper case", 401)],
)
async def test_the_agent_takes_only_what_is_signed(signature: str, status: int) -> None:
    body = b'{"ref": "refs/heads/main"}'
    right = inbox.sign(b"secret", body)
    values = {
        "right": right,
        "none": "",
        "of other bytes": inbox.sign(b"secret", body + b" "),
        "sha1": "sha1=" + right[7:47],
        "upper case": right.upper(),
    }
    arrived: list[inbox.Webhook] = []
    async with inbox.listen(b"secret", arrived.append) as port, httpx.AsyncClient() as client:
        answer = await client.post(
            f"http://127.0.0.1:{port}/hook",
            content=body,
            headers={inbox.SIGNATURE: values[signature]},
        )
    assert answer.status_code == status
    (webhook,) = arrived
    assert (webhook.body, webhook.verified) == (body, status == 202)


@pytest.mark.anyio
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
async def test_the_agent_survives_whatever_is_sent(sent: bytes, answer: bytes) -> None:
    arrived: list[inbox.Webhook] = []
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
