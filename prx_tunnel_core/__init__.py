"""One supervised life cycle for every tunnel, one plugin per backend.

Nothing is imported before it is used: `import prx_tunnel_core` costs a few milliseconds.
"""

from __future__ import annotations

__version__ = "0.1.0"

# Type checkers know the name; importing `typing` would double the time of `prx tunnel status`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from prx_tunnel_core._configfile import Config, load
    from prx_tunnel_core._plugins import PluginRegistry
    from prx_tunnel_core.backend import (
        AnyBackend,
        AnyObserver,
        Backend,
        Connection,
        Observer,
        Target,
        TunnelView,
    )
    from prx_tunnel_core.config import BackendConfig, ConfigModel, ReconnectConfig, TunnelConfig
    from prx_tunnel_core.errors import (
        ConfigError,
        ConnectError,
        PluginError,
        ProgramExited,
        ProgramNotFound,
        ProgramStuck,
        SetupError,
        TunnelError,
        UnknownBackend,
    )
    from prx_tunnel_core.hookspecs import hookimpl, hookspec
    from prx_tunnel_core.models import (
        Check,
        Connected,
        Connecting,
        Failed,
        Idle,
        Reconnecting,
        Stopped,
        TunnelHealth,
        TunnelInfo,
        TunnelStatus,
        VisitorHeaders,
    )
    from prx_tunnel_core.process import TunnelProcess, find_program, open_process
    from prx_tunnel_core.tunnel import Tunnel, open_tunnel
    from prx_tunnel_core.urls import UrlRule

__all__ = [
    "AnyBackend",
    "AnyObserver",
    "Backend",
    "BackendConfig",
    "Check",
    "Config",
    "ConfigError",
    "ConfigModel",
    "ConnectError",
    "Connected",
    "Connecting",
    "Connection",
    "Failed",
    "Idle",
    "Observer",
    "PluginError",
    "PluginRegistry",
    "ProgramExited",
    "ProgramNotFound",
    "ProgramStuck",
    "ReconnectConfig",
    "Reconnecting",
    "SetupError",
    "Stopped",
    "Target",
    "Tunnel",
    "TunnelConfig",
    "TunnelError",
    "TunnelHealth",
    "TunnelInfo",
    "TunnelProcess",
    "TunnelStatus",
    "TunnelView",
    "UnknownBackend",
    "UrlRule",
    "VisitorHeaders",
    "find_program",
    "hookimpl",
    "hookspec",
    "load",
    "open_process",
    "open_tunnel",
]

_HOME = {
    "backend": ("AnyBackend", "AnyObserver", "Backend", "Connection", "Observer", "Target",
                "TunnelView"),
    "config": ("BackendConfig", "ReconnectConfig", "ConfigModel", "TunnelConfig"),
    "_configfile": ("Config", "load"),
    "errors": ("ConfigError", "ConnectError", "PluginError", "ProgramExited", "ProgramNotFound",
               "ProgramStuck", "SetupError", "TunnelError", "UnknownBackend"),
    "hookspecs": ("hookimpl", "hookspec"),
    "models": ("Check", "Connected", "Connecting", "Failed", "Idle", "Reconnecting", "Stopped",
               "TunnelHealth", "TunnelInfo", "TunnelStatus", "VisitorHeaders"),
    "_plugins": ("PluginRegistry",),
    "process": ("TunnelProcess", "find_program", "open_process"),
    "tunnel": ("Tunnel", "open_tunnel"),
    "urls": ("UrlRule",),
}  # fmt: skip
_MODULES = {name: module for module, names in _HOME.items() for name in names}

if not TYPE_CHECKING:  # so that type checkers still catch a typo in a name

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
