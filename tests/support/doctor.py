"""A configuration of a test, a backend of its own, and what the doctor finds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from prx_tunnel_core import (
    Backend,
    BackendConfig,
    Check,
    Connection,
    PluginRegistry,
    Target,
    hookimpl,
)
from prx_tunnel_core._doctor import examine

SECRET = "canary-0123456789"
PROBE = "[tunnel]\nbackend = 'probe'\n"
WITH_SECRET = f"{PROBE}[tunnel.probe]\ntoken = '{SECRET}'\n"


class ProbeConfig(BackendConfig):
    token: SecretStr | None = None


@asynccontextmanager
async def connect(config: ProbeConfig, target: Target) -> AsyncIterator[Connection]:
    raise NotImplementedError
    yield


class Probe:
    """A plugin with the backend `probe`, which answers the doctor as a test says."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    @hookimpl
    def prx_tunnel_backends(self) -> Iterable[Backend[ProbeConfig]]:
        yield Backend(
            name="probe", summary="a probe", config=ProbeConfig, connect=connect, **self.answers
        )


def with_probe(**answers: Any) -> PluginRegistry:
    plugins = PluginRegistry(entry_points=list)
    plugins.register(Probe(**answers))
    return plugins


async def found(
    file: Path, text: str = PROBE, *, plugins: PluginRegistry | None = None, **answers: Any
) -> dict[str, list[Check]]:
    """The findings about a configuration of that text, by name."""
    write(file, text)
    checks: dict[str, list[Check]] = {}
    async for check in examine(file, plugins=plugins or with_probe(**answers)):
        checks.setdefault(check.name, []).append(check)
    return checks


def write(file: Path, text: str) -> None:
    file.write_text(text)


def only(checks: dict[str, list[Check]], name: str) -> tuple[str, str]:
    """Verdict and detail of the one finding of that name."""
    (check,) = checks[name]
    return check.verdict, check.detail
