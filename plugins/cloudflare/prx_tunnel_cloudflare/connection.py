"""A tunnel that is up, checked through the metrics server; cloudflared has time to reconnect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import anyio

from prx_tunnel_cloudflare.connector import Connector
from prx_tunnel_cloudflare.ingress import read_ingress
from prx_tunnel_cloudflare.metrics import Metrics, NoAnswer, Registrations
from prx_tunnel_core.backend import Connection, Target
from prx_tunnel_core.models import Check, VisitorHeaders

LOOK_EVERY = 5.0  # seconds between two looks at /ready
RECOVERY = 64.0
"""Seconds that cloudflared has to reconnect by itself: its longest back-off. Another process would
only start to wait again, and a quick tunnel would get another name."""


class Outage:
    """For how long there has been no edge connection."""

    def __init__(self) -> None:
        self._since: float | None = None

    def note(self, connections: int | None, now: float) -> None:
        """`connections` is None when the metrics server did not answer."""
        if connections:
            self._since = None
        elif self._since is None:
            self._since = now

    def lasted(self, now: float) -> float:
        return 0.0 if self._since is None else now - self._since


def classify_response(status: int, headers: Mapping[str, str]) -> Check | None:
    """Recognise what Cloudflare's edge answers itself, instead of the application."""
    if headers.get("server", "").lower() != "cloudflare":
        return None
    if status == 530:  # with `error code: 1033` or `1016` in the body
        return Check("edge", "fail", "Cloudflare has no connection to this tunnel (HTTP 530)")
    if 520 <= status <= 527:
        reason = f"HTTP {status}: Cloudflare answered, perhaps not your application"
        return Check("edge", "unknown", reason)
    return None


class CloudflareConnection(Connection):
    """Drops when cloudflared ends, or has been without an edge connection for too long.

    `hostname` is the name whose route is compared with the target; None for a quick tunnel.
    """

    # The first by cloudflared (proxy/proxy.go, appendTagHeaders), the others by the edge, which
    # replaces what a visitor sends under these names.
    visitor_headers = VisitorHeaders(
        always=("cf-warp-tag-id", "cf-connecting-ip", "cf-ray"), address="cf-connecting-ip"
    )

    def __init__(
        self,
        public_url: str,
        *,
        details: Mapping[str, str],
        connector: Connector,
        metrics: Metrics,
        target: Target,
        hostname: str | None,
    ) -> None:
        self.public_url = public_url
        self.details = details
        self._connector = connector
        self._metrics = metrics
        self._target = target
        self._hostname = hostname
        self._outage = Outage()

    async def wait_closed(self) -> str:
        while self._outage.lasted(anyio.current_time()) < RECOVERY:
            with anyio.move_on_after(LOOK_EVERY):
                await self._connector.process.wait()
                return self._connector.process.exit_reason()
            await self._look()
        return self._word(f"cloudflared has not reconnected by itself within {RECOVERY:g} s")

    async def check(self) -> Iterable[Check]:
        connections = await self._look()
        checks = [await self._edge(connections)]
        if connections and self._hostname is not None:
            checks.append(await self._route(self._hostname))
        return checks

    async def _look(self) -> int | None:
        try:
            connections = await self._metrics.edge_connections()
        except NoAnswer:
            connections = None
        self._outage.note(connections, anyio.current_time())
        return connections

    async def _edge(self, connections: int | None) -> Check:
        counts = await self._registrations()
        refused = f", {counts.refused} registrations refused" if counts.refused else ""
        if connections:
            plural = "s" if connections > 1 else ""
            told = f"{connections} edge connection{plural}{self._where()}{refused}"
            return Check("edge", "ok", told)
        lasted = self._outage.lasted(anyio.current_time())
        state = "no edge connection" if connections == 0 else "the metrics server does not answer"
        if lasted >= RECOVERY:
            return Check("edge", "fail", self._word(f"{state} for {lasted:.0f} s{refused}"))
        # Unknown, not failed: a failure would count, and end cloudflared before it has reconnected.
        detail = f"{state} for {lasted:.0f} s; cloudflared reconnects by itself{refused}"
        return Check("edge", "unknown", self._word(detail))

    async def _route(self, hostname: str) -> Check:
        try:
            ingress = read_ingress(await self._metrics.configuration())
        except NoAnswer as reason:
            return Check("route", "unknown", str(reason))
        problem = ingress.problem(hostname, self._target)
        if problem is None:
            return Check("route", "ok", f"{hostname} leads to port {self._target.port}")
        # A local problem: a new connection would get the same route.
        return Check("local", "fail", problem)

    async def _registrations(self) -> Registrations:
        try:
            return await self._metrics.registrations()
        except NoAnswer:
            return Registrations(refused=self._connector.journal.refusals)

    def _where(self) -> str:
        fields = self._connector.journal.registered or {}
        known = [fields[key] for key in ("location", "protocol") if key in fields]
        return f" ({', '.join(known)})" if known else ""

    def _word(self, text: str) -> str:
        reason = self._connector.journal.reason
        return text if reason is None else f"{text}: {reason.message}"
