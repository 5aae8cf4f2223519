"""What the stand-in's metrics server tells: derived from the very lines that are played."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field

_INDEX = re.compile(r'connIndex["=:]+(\d+)')
_BANNER = re.compile(r"\|  https://(\S+)")
_PUSHED = re.compile(r'Updated to new configuration config=(null|"(?:[^"\\]|\\.)*") version=(\d+)')
_REFUSED_QUIC = "control stream encountered a failure while serving"
_GONE = ("Serve tunnel error", "Lost connection with the edge", "Unregistered tunnel connection")


@dataclass
class State:
    url: str
    """Where traffic goes until a configuration is pushed; empty for none."""
    ingress: list[dict[str, object]] = field(default_factory=list)
    connector: str = field(default_factory=lambda: str(uuid.uuid4()))
    hostname: str = ""
    connections: set[int] = field(default_factory=set)
    version: int = -1
    succeeded: int = 0
    refused: int = 0
    refused_as: str = "server_error"
    stopping: bool = False

    def follow(self, line: str) -> None:
        """Take in what a played line says has happened."""
        if "Registered tunnel connection" in line and "Unregistered" not in line:
            self.connections.add(_index(line))
            self.succeeded += 1
        elif match := _BANNER.search(line):
            self.hostname = self.hostname or match[1]
        elif match := _PUSHED.search(line):
            self.push(json.loads(json.loads(match[1])) if match[1] != "null" else {}, int(match[2]))
        elif any(text in line for text in _GONE):
            self.connections.discard(_index(line))
        self.refused += _refuses(line)

    def push(self, config: dict[str, object], version: int) -> None:
        rules = config.get("ingress")
        self.ingress = rules if isinstance(rules, list) else []
        self.url = ""
        self.version = version

    def answer(self, path: str) -> tuple[int, str] | None:
        count = 0 if self.stopping else len(self.connections)
        if path == "/ready":
            status = 200 if count else 503
            body = {"status": status, "readyConnections": count, "connectorId": self.connector}
            return status, json.dumps(body, separators=(",", ":"))
        if path == "/quicktunnel":
            return 200, json.dumps({"hostname": self.hostname}, separators=(",", ":"))
        if path == "/config":
            config = {"ingress": [_rule(each) for each in self._rules()], "warp-routing": {}}
            return 200, json.dumps({"version": self.version, "config": config})
        if path == "/metrics":
            return 200, self._metrics()
        return (200, "OK") if path == "/healthcheck" else None

    def _rules(self) -> list[dict[str, object]]:
        return self.ingress or [{"service": self.url or "http_status:503"}]

    def _metrics(self) -> str:
        lines = [
            "# TYPE cloudflared_tunnel_ha_connections gauge",
            f"cloudflared_tunnel_ha_connections {max(1, len(self.connections))}",
        ]
        name = "cloudflared_tunnel_tunnel_register"
        if self.refused:
            labels = f'{{error="{self.refused_as}",rpcName="registerConnection"}}'
            lines.append(f"{name}_fail{labels} {self.refused}")
        if self.succeeded:
            lines.append(f'{name}_success{{rpcName="registerConnection"}} {self.succeeded}')
        return "\n".join(lines) + "\n"


def _refuses(line: str) -> bool:
    silently = "Serve tunnel error" in line and _REFUSED_QUIC in line
    return silently or "Register tunnel error from server side" in line


def _index(line: str) -> int:
    match = _INDEX.search(line)
    return int(match[1]) if match else 0


def _rule(rule: dict[str, object]) -> dict[str, object]:
    return {
        "hostname": rule.get("hostname", ""),
        "path": rule.get("path"),
        "service": rule.get("service", ""),
        "Handlers": None,
        "originRequest": {"access": {"teamName": "", "audTag": None}},
    }
