"""The route that the node is asked for; the URL follows from it, not from any output."""

from __future__ import annotations

from dataclasses import dataclass

from prx_tunnel_core import SetupError, Target, UrlRule
from prx_tunnel_tailscale.config import TailscaleConfig

_URL = UrlRule(schemes=("https",), port=True, path=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One mount on one HTTPS port of the node, forwarded to the local server."""

    host: str
    """The node's DNS name, validated, without the trailing dot."""
    port: int
    mount: str
    target: str
    public: bool

    @property
    def host_port(self) -> str:
        """The key under which tailscaled keeps the port's handlers."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return _URL.accept(f"https://{self.host}:{self.port}{self.mount}")

    @property
    def subcommand(self) -> str:
        return "funnel" if self.public else "serve"

    @property
    def place(self) -> tuple[str, str]:
        """The flags that name this mount alone.

        The path is never left out: without it, `off` removes every mount of the port.
        """
        return (f"--https={self.port}", f"--set-path={self.mount}")

    @property
    def foreground(self) -> tuple[str, ...]:
        """The command whose life is the route's."""
        return (self.subcommand, *self.place, self.target)

    @property
    def background(self) -> tuple[str, ...]:
        """The command that has tailscaled keep the route; `--yes` answers every prompt."""
        return (self.subcommand, "--bg", "--yes", *self.place, self.target)

    def removal(self, subcommand: str = "") -> tuple[str, ...]:
        """What to run to remove this mount alone."""
        return (subcommand or self.subcommand, *self.place, "off")


def route_for(config: TailscaleConfig, target: Target, host: str) -> Route:
    if ":" in target.host:
        # Seen in 1.96 to 1.102 (ipn/serve.go, ExpandProxyTargetValue): [::1]:3000 is stored as
        # ::1:3000, and every request ends in an error.
        raise SetupError(
            "tailscale loses the brackets of an IPv6 address and could not reach the local server; "
            'set tunnel.local_host = "127.0.0.1" and have the server listen there'
        )
    return Route(
        host=host,
        port=config.funnel_port,
        mount=config.path,
        target=f"http://{target.authority}",
        public=config.mode == "funnel",
    )
