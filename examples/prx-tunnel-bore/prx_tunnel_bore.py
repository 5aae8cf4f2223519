from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from prx_tunnel_core import (
    AnyBackend,
    Backend,
    BackendConfig,
    Connection,
    Target,
    UrlRule,
    hookimpl,
    open_process,
)

LISTENING = UrlRule(schemes=["http"], port=True)


class BoreConfig(BackendConfig):
    server: str = "bore.pub"


@asynccontextmanager
async def connect(config: BoreConfig, target: Target) -> AsyncIterator[Connection]:
    command = ["bore", "local", str(target.port), "--to", config.server]
    async with open_process(command) as process:
        url = await process.first_match(
            lambda line: LISTENING.find("http://" + line.partition("listening at ")[2])
        )
        yield process.connection(url)


@hookimpl
def prx_tunnel_backends() -> Iterable[AnyBackend]:
    yield Backend(
        name="bore", summary="bore.pub", config=BoreConfig, connect=connect, program="bore"
    )
