"""A tunnel that tells of its changes at once, for who shows them between other news."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prx_tunnel_core.models import TunnelStatus
from prx_tunnel_core.tunnel import Tunnel


class TellingTunnel(Tunnel):
    """A watch hears of a change a moment later, when the log may have the next step already.

    `show` must be quick and raise nothing: it is part of the change.
    """

    def __init__(self, *args: Any, show: Callable[[TunnelStatus], object], **options: Any) -> None:
        self._show = show
        super().__init__(*args, **options)

    def _set(self, new: TunnelStatus) -> None:
        old = self.status
        super()._set(new)
        if new != old:
            self._show(new)
