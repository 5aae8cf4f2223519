"""The steps of `prx tunnel demo`; each is reported only after it was observed."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx

from prx_tunnel_core._cli.agent import inbox
from prx_tunnel_core._health.local_port import accepts
from prx_tunnel_core.errors import ConfigError, TunnelError
from prx_tunnel_core.models import Connected, Failed, Reconnecting, TunnelStatus
from prx_tunnel_core.process._reaper import sweep
from prx_tunnel_core.tunnel import Tunnel
from prx_tunnel_core.urls import is_loopback, join

RECONNECT = {"max_attempts": 5, "backoff_base_ms": 200, "backoff_max_ms": 2000}
NAME_PUBLISHED = 15.0  # seconds until the DNS has a new name; asked earlier, it caches its absence
PATIENCE = 60.0  # seconds for a webhook to get through
PATH = "/webhooks/github"

StatusT = TypeVar("StatusT", Connected, Reconnecting)


class _StepFailed(Exception):
    """A step did not happen; the text says why."""


@dataclass(frozen=True)
class Step:
    name: str
    detail: str
    at: float
    """Seconds since the start of the demo."""

    def to_json(self) -> dict[str, object]:
        return {"step": self.name, "detail": self.detail, "at": round(self.at, 3)}


class Scenario:
    def __init__(self, config: Mapping[str, Any], report: Callable[[Step], None]) -> None:
        self.steps: list[Step] = []
        self._config = config
        self._report = report
        self._begun = time.monotonic()
        self._secret = secrets.token_bytes(32)
        self._arrived: dict[str, inbox.Webhook] = {}

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._begun, 3)

    async def run(self) -> str:
        """Run all steps; return the reason for the failure of one, else "". Raises ConfigError."""
        try:
            async with inbox.listen(self._secret, self._receive) as port:
                self._seen("agent", f"listening for signed webhooks on 127.0.0.1:{port}")
                url = await self._through_a_tunnel(port)
                await self._nothing_left(url)
        except ConfigError:
            raise
        except (_StepFailed, TunnelError) as error:
            return str(error)
        return ""

    async def _through_a_tunnel(self, port: int) -> str:
        config = {**self._config, "local_port": port, "reconnect": RECONNECT}
        async with Tunnel(config, name="demo") as tunnel:
            info = await tunnel.start()
            note = f" ({info.details['note']})" if "note" in info.details else ""
            self._seen("connected", f"{info.public_url} -> localhost:{port}{note}")
            await self._deliver("delivered", info.public_url)
            url = await self._cut(tunnel) or info.public_url
            await self._examine(tunnel)
            await tunnel.stop()
            self._seen("stopped", "the tunnel is closed")
            return url

    async def _cut(self, tunnel: Tunnel) -> str:
        """Cut the connection, wait for the reconnect, deliver again; return the new URL.

        Returns "" for a backend whose connection cannot be cut.
        """
        statuses = tunnel.watch()
        if not await tunnel.abort():
            self._seen("not cut", "this backend cannot cut its connection")
            return ""
        self._seen("cut", "the connection to the server was closed")
        lost = await _until(statuses, Reconnecting)
        self._seen(
            "reconnecting", f"attempt {lost.attempt} in {lost.retry_in:.1f} s: {lost.reason}"
        )
        back = await _until(statuses, Connected)
        self._seen("connected again", back.info.public_url)
        await self._deliver("delivered again", back.info.public_url)
        return back.info.public_url

    async def _deliver(self, step: str, public_url: str) -> None:
        """Send a webhook to the public URL, as GitHub would; verify that it arrives unchanged."""
        delivery = str(uuid.uuid4())
        body = _push_event()
        headers = {
            "content-type": "application/json",
            "user-agent": "GitHub-Hookshot/prx-tunnel-demo",
            "x-github-event": "push",
            "x-github-delivery": delivery,
            inbox.SIGNATURE: inbox.sign(self._secret, body),
            "ngrok-skip-browser-warning": "1",
        }
        begun = time.monotonic()
        await self._send(join(public_url, PATH), headers, body)
        webhook = self._arrived.get(delivery)
        if webhook is None or webhook.body != body or not webhook.verified:
            raise _StepFailed(
                f"{public_url} answered the webhook, but did not deliver it unchanged"
            )
        took = (time.monotonic() - begun) * 1000
        self._seen(
            step, f"push event, {len(body)} bytes, signature verified, answered in {took:.0f} ms"
        )

    async def _send(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        host = urlsplit(url).hostname or ""
        if not is_loopback(host):
            await anyio.sleep(NAME_PUBLISHED)
        last = "no answer"
        async with httpx.AsyncClient(trust_env=not is_loopback(host), timeout=10) as client:
            with anyio.move_on_after(PATIENCE):
                while True:
                    try:
                        answer = await client.post(url, headers=headers, content=body)
                    except httpx.HTTPError as error:
                        last = f"{type(error).__name__}: {error}"
                    else:
                        if answer.status_code == 202:
                            return
                        last = f"HTTP {answer.status_code}"
                    await anyio.sleep(0.5)
        raise _StepFailed(f"no webhook was delivered through {url} within {PATIENCE:.0f} s: {last}")

    async def _examine(self, tunnel: Tunnel) -> None:
        health = await tunnel.health_check()
        checks = ", ".join(f"{check.name} {check.verdict}" for check in health.checks)
        if health.verdict == "unhealthy":
            raise _StepFailed(f"the tunnel is unhealthy: {checks}")
        self._seen("health", f"{health.verdict}: {checks}")

    async def _nothing_left(self, url: str) -> None:
        if left := sweep.running():
            raise _StepFailed(f"processes are still running: {left}")
        parts = urlsplit(url)
        host = parts.hostname or ""
        if is_loopback(host) and parts.port and await accepts(host, parts.port):
            raise _StepFailed(f"{url} still answers")
        self._seen("nothing left", "no process is running, and the public URL does not answer")

    def _receive(self, webhook: inbox.Webhook) -> None:
        self._arrived[webhook.headers.get("x-github-delivery", "")] = webhook

    def _seen(self, name: str, detail: str) -> None:
        step = Step(name, detail, time.monotonic() - self._begun)
        self.steps.append(step)
        self._report(step)


async def _until(statuses: AsyncIterator[TunnelStatus], kind: type[StatusT]) -> StatusT:
    with anyio.move_on_after(PATIENCE):
        async for status in statuses:
            if isinstance(status, kind):
                return status
            if isinstance(status, Failed):
                raise TunnelError(status.message)
    raise _StepFailed(f"the tunnel was not {kind.__name__.lower()} within {PATIENCE:.0f} s")


def _push_event() -> bytes:
    event = {
        "ref": "refs/heads/main",
        "repository": {"full_name": "example/agent"},
        "head_commit": {"id": secrets.token_hex(20), "message": "Grüße über den Tunnel"},
    }
    return json.dumps(event, ensure_ascii=False).encode()
