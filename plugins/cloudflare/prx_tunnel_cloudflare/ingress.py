"""The ingress in force: which host name leads where.

For a remotely managed tunnel, Cloudflare's dashboard decides where traffic goes, whatever
`local_port` says. It cannot be changed from here, only reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from prx_tunnel_cloudflare.config import bare_hostname
from prx_tunnel_core.backend import Target
from prx_tunnel_core.text import one_line
from prx_tunnel_core.urls import DEFAULT_PORTS

SHOWN = 5  # host names in a warning
LONGEST_NAME = 253  # characters


@dataclass(frozen=True, slots=True)
class Rule:
    hostname: str
    path: str
    service: str

    def covers(self, hostname: str) -> bool:
        """Whether the rule is about all of that host: an exact name, `*.domain` or every name."""
        if self.path:
            return False
        name = self.hostname.lower()
        if name in ("", "*", hostname):
            return True
        return name.startswith("*.") and hostname.endswith(name[1:])

    def leads_to(self, target: Target) -> bool:
        """Whether the service is a web server on the target's port.

        Only the port is compared: the same program may be named by any address of this machine.
        """
        return _port(self.service) == target.port


@dataclass(frozen=True, slots=True)
class Ingress:
    version: int
    """-1: not from Cloudflare."""
    rules: tuple[Rule, ...]

    @property
    def pushed(self) -> bool:
        return self.version >= 0

    def public_hostname(self, target: Target) -> str | None:
        """The first whole host name that leads to the target; otherwise the first whole one."""
        named = [rule for rule in self.rules if not rule.path and _usable(rule.hostname)]
        named.sort(key=lambda rule: not rule.leads_to(target))
        return bare_hostname(named[0].hostname) if named else None

    def problem(self, hostname: str, target: Target) -> str | None:
        """What is wrong with the route of `hostname`, with the fix; None when it is right."""
        if not self.pushed:
            return None
        rule = next((rule for rule in self.rules if rule.covers(hostname)), None)
        if rule is None or rule.service.startswith("http_status:"):
            return (
                f"the tunnel has no route for {hostname} (cloudflared reports {self._reported()}); "
                "add one in Cloudflare's dashboard, or correct tunnel.cloudflare.hostname here"
            )
        if not rule.leads_to(target):
            return (
                f"the tunnel sends {hostname} to {rule.service}, not to port {target.port}; "
                "correct the route in Cloudflare's dashboard, or tunnel.local_port here"
            )
        return None

    def _reported(self) -> str:
        names = dict.fromkeys(one_line(rule.hostname)[:LONGEST_NAME] for rule in self.rules)
        shown = [name for name in names if name]
        more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
        return f"{', '.join(shown[:SHOWN])}{more}" if shown else "no host name"


def read_ingress(answer: Mapping[str, Any]) -> Ingress:
    """The ingress in an answer of `/config`."""
    version = answer.get("version")
    return Ingress(version if isinstance(version, int) else -1, tuple(_rules(answer.get("config"))))


def _rules(config: object) -> Iterator[Rule]:
    entries = config.get("ingress") if isinstance(config, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            values = (str(entry.get(key) or "") for key in ("hostname", "path", "service"))
            yield Rule(*values)


def _usable(hostname: str) -> bool:
    try:
        return bool(bare_hostname(hostname))
    except ValueError:
        return False


def _port(service: str) -> int | None:
    try:
        parts = urlsplit(service)
        return parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
