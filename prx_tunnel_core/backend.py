"""The interfaces between core and plugins: `Backend`, `Connection`, `Observer`.

A plugin yields a `Backend`, a `Backend` opens a `Connection`, and a `Tunnel` keeps one open.

    @asynccontextmanager
    async def connect(config: HelloConfig, target: Target) -> AsyncIterator[Connection]:
        async with open_process(["hello", "http", target.authority]) as process:
            url = await process.first_match(PUBLIC_URL.find)
            yield process.connection(url)

    @hookimpl
    def prx_tunnel_backends() -> Iterable[AnyBackend]:
        yield Backend(name="hello", summary="hello.example", config=HelloConfig, connect=connect)

`docs/writing-a-backend.md` is the tutorial.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from prx_tunnel_core.errors import PluginError
from prx_tunnel_core.models import Check, TunnelStatus, VisitorHeaders

if TYPE_CHECKING:
    from prx_tunnel_core.config import BackendConfig, ConfigModel

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
# A backend of such a name would hide a table or a key of [tunnel].
_RESERVED_NAMES = frozenset({"reconnect", "tunnel", "gateway", "core", "none", "auto"})

_NO_DETAILS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Target:
    """What the tunnel forwards to: a port on the loopback interface of this machine."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connection(ABC):
    """A tunnel that is up, for as long as the context that yielded it.

    `TunnelProcess.connection(url)` makes one that lives as long as a program. Write a subclass
    where the program's life is not the tunnel's.
    """

    public_url: str
    """`scheme://host[:port]`; core validates it."""
    details: Mapping[str, str] = _NO_DETAILS
    """For people: edge location, protocol, the address of an inspector…"""
    visitor_headers: VisitorHeaders | None = None
    """The headers that the backend sets on every request, whatever the visitor sent; None where
    there are none, or where that is not certain."""

    @abstractmethod
    async def wait_closed(self) -> str:
        """Wait until the tunnel has dropped, and return the reason for people.

        Raises SetupError when connecting again cannot help before someone has fixed something.
        """

    async def check(self) -> Iterable[Check]:
        """What the provider reports: edge connections, the state of a daemon…

        Core combines the results into the check `provider`, and gives them ten seconds. `unknown`
        asks for patience: the program is recovering by itself. A check named `local` is about the
        application's side, such as a route to another port: it degrades the tunnel and never ends
        it. The default reports nothing.

            async def check(self) -> Iterable[Check]:
                lines = await self._edge_connections()
                return [Check("edge", "ok" if lines else "fail", f"{lines} connections")]
        """
        return ()

    async def abort(self) -> bool:
        """Break the connection as a failing network would; False when that is not possible.

        Used to exercise reconnection in tests and the demo.
        """
        return False


class AnyBackend:
    """What the hook `prx_tunnel_backends` yields: a `Backend` of any configuration.

    With `Backend[Any]` in the hook's signature, type checkers would accept a `connect` that takes
    another configuration than `config`.
    """

    __slots__ = ()


ConfigT = TypeVar("ConfigT", bound="BackendConfig")
ModelT = TypeVar("ModelT", bound="ConfigModel")


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend(AnyBackend, Generic[ConfigT]):
    """One way to open a tunnel.

    `connect(config, target)` is an async context manager: the part before its `yield` opens the
    tunnel, the part after it closes the tunnel. It yields once traffic can flow, raises
    `SetupError` when someone has to fix something and `ConnectError` when retrying may help. Core
    bounds the time of both parts, may cancel them, and calls `connect` again after a drop.

    Raises PluginError, when it is created, for a name that cannot be used and for fields of a wrong
    kind.
    """

    name: str
    """The value of `tunnel.backend`: lower-case letters, digits and hyphens."""
    summary: str
    """One line for `prx tunnel backends`."""
    config: type[ConfigT]
    """The model of the table `[tunnel.<name>]`."""
    connect: Callable[[ConfigT, Target], AbstractAsyncContextManager[Connection]]
    program: str | None = None
    """The executable that it needs, for `prx tunnel backends` and `prx tunnel doctor`."""
    install_hint: str = ""
    """How to get the program: one clause, such as "get it from https://hello.example/download"."""
    diagnose: Callable[[ConfigT], Awaitable[Iterable[Check]]] | None = None
    """The checks of `prx tunnel doctor`: everything that can be found out without a tunnel.

    It has ten seconds in all, after which none of its results are shown: give each program that it
    runs a shorter deadline.
    """
    example: str = ""
    """Lines of TOML for `[tunnel.<name>]`, with comments, that `prx init` writes.

    Without it, `prx init` lists the keys of `config` with their defaults.
    """
    servers: Callable[[ConfigT], Iterable[str]] | None = None
    """The `host:port` (TCP) that the program must reach, for `prx tunnel doctor`."""
    classify_response: Callable[[int, Mapping[str, str]], Check | None] | None = None
    """Recognises the provider's own pages among the answers of the public URL.

    Called by the health check `public` with the status and the headers (names in lower case) of
    each answer. Return `fail` for a page that says "no such tunnel", `unknown` for one that tells
    nothing about the tunnel, and None for an answer that the provider did not write; core then
    judges by the status alone. The name of the returned check is not used. It runs on the event
    loop: look at the arguments only.
    """
    probe_headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Headers for the request of the health check `public`, such as one that skips the provider's
    interstitial page."""

    def __post_init__(self) -> None:
        from prx_tunnel_core.config import BackendConfig

        _check_descriptor(self, self.name, self.config, BackendConfig, self.connect, what="connect")
        if not (self.classify_response is None or callable(self.classify_response)):
            raise PluginError(f"Backend {self.name!r}: classify_response is not callable")
        object.__setattr__(self, "probe_headers", _header_fields(self.name, self.probe_headers))


class AnyObserver:
    """What the hook `prx_tunnel_observers` yields; see `AnyBackend`."""

    __slots__ = ()


class TunnelView(Protocol):
    """The tunnel as an observer sees it: read-only."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> TunnelStatus: ...
    def watch(self) -> AsyncIterator[TunnelStatus]:
        """The current status, then each new one."""
        ...

    def urls(self) -> AsyncIterator[str]:
        """The current public URL, if there is one, then each that differs from the previous."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Observer(AnyObserver, Generic[ModelT]):
    """Runs beside a tunnel and watches it; it cannot change, delay or break the tunnel.

    `run(config, tunnel)` is an async context manager that is entered and left with the tunnel. It
    yields a function that returns the observer's state, which `prx tunnel status` shows.

    Raises PluginError, when it is created, for a name that cannot be used and for fields of a wrong
    kind. `prx_tunnel_observers` in `hookspecs` has an example.
    """

    name: str
    """The name of its top-level table in the configuration file."""
    config: type[ModelT]
    """The model of that table."""
    run: Callable[
        [ModelT, TunnelView], AbstractAsyncContextManager[Callable[[], Mapping[str, str]]]
    ]
    summary: str = ""
    """One line for `prx tunnel backends`."""

    def __post_init__(self) -> None:
        from prx_tunnel_core.config import ConfigModel

        _check_descriptor(self, self.name, self.config, ConfigModel, self.run, what="run")


def _header_fields(name: str, given: object) -> Mapping[str, str]:
    """A copy that cannot change; raises PluginError for what is not a mapping of printable text."""
    if not isinstance(given, Mapping) or not all(
        isinstance(text, str) and text.isascii() and text.isprintable()
        for item in given.items()
        for text in item
    ):
        raise PluginError(
            f"Backend {name!r}: probe_headers must map header names to values of printable ASCII"
        )
    return MappingProxyType(dict(given))


def _check_descriptor(
    owner: object, name: object, config: object, base: type, function: object, *, what: str
) -> None:
    """Report to the plugin's author what would otherwise fail for its users."""
    kind = type(owner).__name__
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED_NAMES:
        raise PluginError(
            f"{kind} name {name!r}: use a-z, 0-9 and '-', beginning with a letter, at most 32 "
            f"characters, and none of {', '.join(sorted(_RESERVED_NAMES))}"
        )
    if not (isinstance(config, type) and issubclass(config, base)):
        raise PluginError(f"{kind} {name!r}: config must be a subclass of {base.__name__}")
    if not callable(function):
        raise PluginError(f"{kind} {name!r}: {what} is not callable")
