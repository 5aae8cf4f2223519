"""`tailscale funnel status --json`: what the node serves, for whom, and since when.

Its text form is useless: it shows nothing of a foreground session. The same JSON says nothing of
whether the internet reaches the node, nor of a permission that was taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from prx_tunnel_tailscale.reasons import Unreadable
from prx_tunnel_tailscale.route import Route


class _Web(BaseModel):
    handlers: dict[str, dict[str, Any] | None] | None = Field(default=None, alias="Handlers")


class _Listeners(BaseModel):
    """Ports and what is behind them: of the background, or of one foreground session."""

    tcp: dict[int, dict[str, Any] | None] | None = Field(default=None, alias="TCP")
    web: dict[str, _Web | None] | None = Field(default=None, alias="Web")
    allow_funnel: dict[str, bool] | None = Field(default=None, alias="AllowFunnel")

    def uses(self, port: int) -> bool:
        return port in (self.tcp or {}) or any(self.mounts(port))

    def public(self, host_port: str) -> bool:
        return (self.allow_funnel or {}).get(host_port, False)

    def mounts(self, port: int) -> Iterator[tuple[str, str, str]]:
        """Each handler on the port: `host:port`, path, and what it does."""
        for host_port, web in (self.web or {}).items():
            if host_port.endswith(f":{port}"):
                for mount, handler in ((web and web.handlers) or {}).items():
                    yield host_port, mount, _what(handler or {})
        forward = (self.tcp or {}).get(port) or {}
        if target := forward.get("TCPForward"):
            yield f":{port}", "", f"tcp {target}"

    def serves(self, route: Route) -> bool:
        """Whether exactly our handler is at our path."""
        web = (self.web or {}).get(route.host_port)
        handler = ((web and web.handlers) or {}).get(route.mount)
        return handler == {"Proxy": route.target}


class ServeConfig(_Listeners):
    """Everything the node serves (ipn.ServeConfig)."""

    foreground: dict[str, _Listeners | None] | None = Field(default=None, alias="Foreground")

    def sessions(self) -> dict[str, _Listeners]:
        """The foreground sessions by their id; each ends with the program that began it."""
        return {name: found for name, found in (self.foreground or {}).items() if found}

    def session_of(self, route: Route) -> str | None:
        """The session that serves the route the way it is wanted."""
        for name, session in self.sessions().items():
            if session.serves(route) and self._as_wanted(session, route):
                return name
        return None

    def in_background(self, route: Route) -> bool:
        """Whether the route is kept by tailscaled the way it is wanted."""
        return self.serves(route) and self._as_wanted(self, route)

    def _as_wanted(self, listeners: _Listeners, route: Route) -> bool:
        # A stale top-level entry opens the port for a foreground session, too.
        open_to_all = listeners.public(route.host_port) or self.public(route.host_port)
        return open_to_all == route.public

    def handlers(self, port: int) -> list[str]:
        """Everything that is on the port, for an error message."""
        kept = [_shown(mount, what) for _, mount, what in self.mounts(port)]
        if not kept and self.uses(port):
            kept = ["a listener without handlers"]
        return [*kept, *self.foreground_handlers(port)]

    def strangers(self, route: Route) -> list[str]:
        """What is on the route's port besides our route kept in the background."""
        others = [
            _shown(mount, what)
            for host_port, mount, what in self.mounts(route.port)
            if (host_port, mount) != (route.host_port, route.mount)
        ]
        if self.serves(route):
            return [*others, *self.foreground_handlers(route.port)]
        return self.handlers(route.port)

    def foreground_handlers(self, port: int) -> list[str]:
        return [
            f"{_shown(mount, what)} in the foreground, session {name}"
            for name, session in self.sessions().items()
            if session.uses(port)
            for _, mount, what in [*session.mounts(port)] or [("", "", "a listener")]
        ]


def parse_serve_config(text: str) -> ServeConfig:
    """The configuration of a `funnel status --json`; Unreadable for anything that is none."""
    if text.strip() == "null":  # how older releases write "nothing"
        return ServeConfig()
    try:
        return ServeConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "no JSON object"
        raise Unreadable(f"tailscale funnel status --json: {place}: {first['msg']}") from None


def _what(handler: dict[str, Any]) -> str:
    kind, value = next(iter(handler.items()), ("nothing", ""))
    return f"{kind.lower()} {value}" if kind != "Proxy" else str(value)


def _shown(mount: str, what: str) -> str:
    return f"{mount} -> {what}" if mount else what
