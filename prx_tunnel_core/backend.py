"""All that the author of a backend must read.

A plugin yields a `Backend`; a `Backend` opens a `Connection`; a `Tunnel` keeps one open.
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
# Tables and keys of [tunnel] that a backend of the same name would hide.
_RESERVED_NAMES = frozenset({"reconnect", "tunnel", "gateway", "core", "none", "auto"})

_NO_DETAILS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Target:
    """What the tunnel forwards to: always on this machine's loopback."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connection(ABC):
    """A tunnel that is up; it lives as long as the context that yielded it."""

    public_url: str
    details: Mapping[str, str] = _NO_DETAILS
    """For a person: edge location, protocol, the address of an inspector…"""
    visitor_headers: VisitorHeaders | None = None
    """The headers that the backend sets on each request, whatever the visitor sent; None where
    there are none, or where it is not certain."""

    @abstractmethod
    async def wait_closed(self) -> str:
        """Wait until the tunnel has dropped and say why; a drop is no exception.

        Raises SetupError when connecting again is of no use before someone has fixed something.
        """

    async def check(self) -> Iterable[Check]:
        """What the provider says of the tunnel: edge connections, the state of a daemon…

        Core folds the results into the check `provider`. `unknown` asks for patience: the program
        is coming back by itself. A check named `local` is about the app's side, such as a route to
        another port: it degrades the tunnel and never ends it. The default knows nothing.
        """
        return ()

    async def abort(self) -> bool:
        """Break the connection as a failing network would; False when that is not possible.

        For demonstrations and tests: what a tunnel is worth shows when it drops.
        """
        return False


class AnyBackend:
    """What hooks yield.

    With `Backend[Any]` in the hook's signature, type checkers would let a `config` and a `connect`
    that do not belong together pass.
    """

    __slots__ = ()


ConfigT = TypeVar("ConfigT", bound="BackendConfig")
ModelT = TypeVar("ModelT", bound="ConfigModel")


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend(AnyBackend, Generic[ConfigT]):
    """One way to open a tunnel.

    `connect(config, target)` is an async context manager: what stands before its `yield` opens the
    tunnel, what stands after closes it. It yields once traffic can flow, raises `SetupError` when
    someone has to fix something and `ConnectError` when trying again may help. Core bounds the time
    of both halves, cancels them, and calls `connect` anew after a drop.
    """

    name: str
    """What `tunnel.backend` says: lower-case letters, digits and hyphens."""
    summary: str
    """One line for `prx tunnel backends`."""
    config: type[ConfigT]
    """Validates `[tunnel.<name>]`."""
    connect: Callable[[ConfigT, Target], AbstractAsyncContextManager[Connection]]
    program: str | None = None
    """The executable it needs, for listing and diagnosis."""
    install_hint: str = ""
    diagnose: Callable[[ConfigT], Awaitable[Iterable[Check]]] | None = None
    """What `prx tunnel doctor` asks: everything that can be known without opening a tunnel.

    It has ten seconds in all, and nothing of it is shown after that: give a program that is asked
    something a deadline of its own.
    """
    example: str = ""
    """Lines of TOML for `[tunnel.<name>]`, with comments: `prx init` writes them.

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

        _check_descriptor(self, self.name, self.config, BackendConfig, self.connect)
        if not (self.classify_response is None or callable(self.classify_response)):
            raise PluginError(f"Backend {self.name!r}: classify_response is not callable")
        object.__setattr__(self, "probe_headers", _header_fields(self.name, self.probe_headers))


class AnyObserver:
    """What hooks yield; see `AnyBackend`."""

    __slots__ = ()


class TunnelView(Protocol):
    """The tunnel as an observer sees it: nothing can be changed through it."""

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
    """What lives beside a tunnel and watches it; it can neither alter, block nor break it.

    `run(config, watched)` is an async context manager entered when the tunnel is and left with it.
    It yields a function that tells its state, which `prx tunnel status` shows.
    """

    name: str
    """Its own top-level table in config.toml."""
    config: type[ModelT]
    run: Callable[
        [ModelT, TunnelView], AbstractAsyncContextManager[Callable[[], Mapping[str, str]]]
    ]
    summary: str = ""

    def __post_init__(self) -> None:
        from prx_tunnel_core.config import ConfigModel

        _check_descriptor(self, self.name, self.config, ConfigModel, self.run)


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
    owner: object, name: object, config: object, base: type, function: object
) -> None:
    """Say at once, in the author's words, what would otherwise fail in a user's hands."""
    kind = type(owner).__name__
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED_NAMES:
        raise PluginError(
            f"{kind} name {name!r}: use a-z, 0-9 and '-', beginning with a letter, at most 32 "
            f"characters, and none of {', '.join(sorted(_RESERVED_NAMES))}"
        )
    if not (isinstance(config, type) and issubclass(config, base)):
        raise PluginError(f"{kind} {name!r}: config must be a subclass of {base.__name__}")
    if not callable(function):
        raise PluginError(f"{kind} {name!r}: its context manager is not callable")
