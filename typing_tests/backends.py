"""What an author writes, as type checkers see it: the right is accepted, the wrong is an error.

A line that is wrong ends in an ignore for both checkers; each reports one that ignores nothing
(`warn_unused_ignores`, `reportUnnecessaryTypeIgnoreComment`), so a mistake that is no error any
more fails as well. tests/test_typing.py runs them.
"""

# ruff: noqa: ARG001, INP001, PGH003 - mistakes are what this is about

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from pydantic import BaseModel, SecretStr

from prx_tunnel_core import (
    AnyBackend,
    Backend,
    BackendConfig,
    Check,
    Connection,
    Target,
    hookimpl,
    open_process,
)


class Config(BackendConfig):
    region: str = "eu"
    token: SecretStr | None = None


class OtherConfig(BackendConfig):
    size: int = 1


class NoConfig(BaseModel):
    region: str = "eu"


@asynccontextmanager
async def connect(config: Config, target: Target) -> AsyncIterator[Connection]:
    env: dict[str, str | SecretStr] = {"REGION": config.region}
    if config.token is not None:
        env["TOKEN"] = config.token
    async with open_process(["relay", target.authority], env=env) as process:
        url: str = await process.first_match(lambda line: line or None)
        yield process.connection(url, details={"region": config.region}, check=word)


async def word() -> Iterable[Check]:
    return [Check("edge", "ok"), Check("edge", "unknown", "it did not say")]


async def diagnose(config: Config) -> list[Check]:
    return [Check("region", "ok", config.region)]


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    yield Backend(
        name="relay", summary="a relay", config=Config, connect=connect, diagnose=diagnose
    )


class Relay(Connection):
    public_url = "https://relay.example"

    async def wait_closed(self) -> str:
        return "it dropped"


# --- mistakes -----------------------------------------------------------------------------------


@asynccontextmanager
async def needs_other(config: OtherConfig, target: Target) -> AsyncIterator[Connection]:
    yield Relay()


@asynccontextmanager
async def yields_a_url(config: Config, target: Target) -> AsyncIterator[str]:
    yield "https://relay.example"


async def no_context(config: Config, target: Target) -> Connection:
    return Relay()


async def diagnoses_other(config: OtherConfig) -> list[Check]:
    return [Check("size", "ok", str(config.size))]


def mistakes() -> Iterable[AnyBackend]:
    yield Backend(name="x", summary="", config=Config, connect=needs_other)  # type: ignore[arg-type] # pyright: ignore
    yield Backend(name="x", summary="", config=Config, connect=yields_a_url)  # type: ignore[arg-type] # pyright: ignore
    yield Backend(name="x", summary="", config=Config, connect=no_context)  # type: ignore[arg-type] # pyright: ignore
    yield Backend(name="x", summary="", config=NoConfig, connect=connect)  # type: ignore[type-var, arg-type] # pyright: ignore
    yield Backend("x", "", Config, connect)  # type: ignore[call-arg] # pyright: ignore
    yield Backend(
        name="x",
        summary="",
        config=Config,
        connect=connect,
        diagnose=diagnoses_other,  # type: ignore[arg-type] # pyright: ignore
    )
    yield "relay"  # type: ignore[misc] # pyright: ignore


class Incomplete(Connection):
    public_url = "https://relay.example"


def more_mistakes(details: Mapping[str, str]) -> None:
    Incomplete()  # type: ignore[abstract] # pyright: ignore
    Check("edge", "fine")  # type: ignore[arg-type] # pyright: ignore
    Target("127.0.0.1", "3000")  # type: ignore[arg-type] # pyright: ignore
    Target("127.0.0.1", 3000).port = 3001  # type: ignore[misc] # pyright: ignore
    open_process("relay --token x", env={"PORT": 3000})  # type: ignore[dict-item] # pyright: ignore
