"""The texts that `prx tunnel status` and `health` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from prx_tunnel_core.config import TunnelConfig
from prx_tunnel_core.models import (
    Connected,
    Connecting,
    Failed,
    Reconnecting,
    TunnelHealth,
    TunnelInfo,
    TunnelStatus,
    state_of,
)
from prx_tunnel_core.text import one_line


def local(config: TunnelConfig) -> str:
    """The local address for display, with `localhost` for 127.0.0.1."""
    host = "localhost" if config.local_host == "127.0.0.1" else config.local_host
    return f"[{host}]:{config.local_port}" if ":" in host else f"{host}:{config.local_port}"


def status_text(
    status: TunnelStatus,
    config: TunnelConfig,
    *,
    health: TunnelHealth | None = None,
    observers: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """One line per fact; `retry_in` of the status counts from now."""
    lines = [f"Tunnel: {config.backend} ({state_of(status)})"]
    if isinstance(status, Connected):
        lines.append(f"Public URL: {status.info.public_url}")
    lines.append(f"Local: http://{local(config)}")
    lines += _progress(status, config.reconnect.max_attempts)
    if isinstance(status, Connected):
        lines += _details(status.info)
        if health is not None:
            lines.append(f"Health: {health.verdict}, checked {_ago(health.checked_at)}")
    lines += _observed(observers)
    return "".join(f"{one_line(line)}\n" for line in lines)


def _progress(status: TunnelStatus, most: int) -> Iterator[str]:
    match status:
        case Connecting(attempt) if attempt:
            yield f"Attempt: {of_attempts(attempt, most)}"
        case Reconnecting(attempt, reason, retry_in):
            yield from _reason(reason)
            yield f"Next attempt: {of_attempts(attempt, most)}, in {retry_in:.1f} s"
        case Failed(message):
            yield from _reason(message)
        case _:
            pass


def of_attempts(attempt: int, most: int) -> str:
    return f"{attempt} of {most}" if most else f"{attempt}"


def _reason(reason: str) -> Iterator[str]:
    first, *others = reason.splitlines() or [""]
    yield f"Last error: {first}"
    yield from (f"  {line}" for line in others)


def _details(info: TunnelInfo) -> Iterator[str]:
    yield f"Connected: {_ago(info.started_at)}"
    for name, value in info.details.items():
        yield f"{name[:1].upper()}{name[1:]}: {value}"


def _ago(moment: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min ago"
    return f"{minutes} min {seconds} s ago" if minutes else f"{seconds} s ago"


def health_text(
    health: TunnelHealth, *, observers: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    latency = "" if health.latency is None else f" ({health.latency * 1000:.0f} ms)"
    lines = [f"Health: {health.verdict}{latency}"]
    lines += [f"  {c.name:<8} {c.verdict:<7} {c.detail}".rstrip() for c in health.checks]
    lines += _observed(observers)
    return "".join(f"{one_line(line)}\n" for line in lines)


def _observed(observers: Mapping[str, Mapping[str, str]] | None) -> Iterator[str]:
    for name, state in (observers or {}).items():
        yield from (f"{name}: {key} {value}" for key, value in state.items())
