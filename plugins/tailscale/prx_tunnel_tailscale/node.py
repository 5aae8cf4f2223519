"""`tailscale status --json`: the state of the node. Nothing is read from prose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from prx_tunnel_core.programs import Version
from prx_tunnel_core.urls import UrlRule, is_loopback, normalise
from prx_tunnel_tailscale.reasons import Unreadable

RUNNING = "Running"
SETTLING = frozenset({"NoState", "Starting"})
"""States that pass by themselves: a tailscaled that restarts goes through both in 0.1 s, and never
looks logged out meanwhile (seen in 1.102.5)."""

_ONLY_A_HOST = UrlRule()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The state of this node, as tailscaled tells it (ipn/ipnstate, type Status)."""

    state: str
    """`Running`, `NeedsLogin`, `NeedsMachineAuth`, `Stopped`, `Starting`, `NoState`…"""
    dns_name: str = ""
    """The node's name, validated, without the trailing dot; empty when it has none."""
    version: Version | None = None
    """Of tailscaled; None when it has no number."""
    online: bool = False
    """Whether it has a connection to the coordination server."""
    relay: str = ""
    """The code of its home relay (DERP) region."""
    login_url: str = ""
    key_expiry: datetime | None = None
    capabilities: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    def key_left(self, now: datetime) -> timedelta | None:
        """How long the node's key is still valid; None when it does not expire."""
        return None if self.key_expiry is None else self.key_expiry - now


class _Self(BaseModel):
    dns_name: str = Field(default="", alias="DNSName")
    online: bool = Field(default=False, alias="Online")
    relay: str = Field(default="", alias="Relay")
    key_expiry: datetime | None = Field(default=None, alias="KeyExpiry")
    cap_map: dict[str, Any] | None = Field(default=None, alias="CapMap")
    capabilities: list[str] | None = Field(default=None, alias="Capabilities")


class _Tailnet(BaseModel):
    suffix: str = Field(default="", alias="MagicDNSSuffix")


class _Status(BaseModel):
    version: str = Field(default="", alias="Version")
    state: str = Field(alias="BackendState")
    auth_url: str = Field(default="", alias="AuthURL")
    own: _Self | None = Field(default=None, alias="Self")
    tailnet: _Tailnet | None = Field(default=None, alias="CurrentTailnet")
    health: list[str] | None = Field(default=None, alias="Health")


def parse_node(text: str) -> Node:
    """The node of a `status --json`; Unreadable for anything that is none."""
    try:
        status = _Status.model_validate_json(text)
    except ValidationError as error:
        raise Unreadable(f"tailscale status --json: {_reason(error)}") from None
    node = Node(
        state=status.state,
        version=Version.parse(status.version),
        login_url=_link(status.auth_url),
        warnings=tuple(status.health or ()),
    )
    if status.own is None:
        return node
    own = status.own
    return replace(
        node,
        dns_name=_name(own.dns_name, status.tailnet.suffix if status.tailnet else ""),
        online=own.online,
        relay=own.relay,
        # Go writes the year 1 for "none".
        key_expiry=own.key_expiry if own.key_expiry and own.key_expiry.year > 1 else None,
        # Clients before CapMap only have the list.
        capabilities=frozenset(own.cap_map or own.capabilities or ()),
    )


def _name(dns_name: str, suffix: str) -> str:
    """The name, when it can be a host on the internet and lies in the node's tailnet."""
    host = dns_name.lower().removesuffix(".")
    if not host:
        return ""
    try:
        # As a whole URL, so that no part of it can become a port, a path or a user name.
        valid = _ONLY_A_HOST.accept(f"https://{host}") == f"https://{host}"
    except ValueError:
        valid = False
    inside = not suffix or host.endswith("." + suffix.lower().strip("."))
    labels = host.split(".")
    if not valid or not inside or len(labels) < 2 or labels[-1].isdigit() or is_loopback(host):
        raise Unreadable(f"tailscale gives this node the name {dns_name[:100]!r}, which is none")
    return host


def _link(url: str) -> str:
    """The URL where a person logs in, when it is one that can be shown."""
    address, _, query = url.partition("?")
    try:
        normalise(address, schemes=("https", "http"))
    except ValueError:
        return ""
    return url if query.isascii() and query.isprintable() and " " not in query else address


def _reason(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place or 'no JSON object'}: {first['msg']}"
