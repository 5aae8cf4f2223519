"""What an answer from the public URL says about the tunnel."""

from __future__ import annotations

from collections.abc import Mapping

from prx_tunnel_core.models import Verdict
from prx_tunnel_core.text import one_line

# ngrok sets `ngrok-error-code` on what it answers itself, and lets no upstream set it.
# Source: ngrok-docs, endpoints/http and errors.
_NGROK: Mapping[str, tuple[Verdict, str]] = {
    "ERR_NGROK_3200": ("fail", "ngrok says that the tunnel is offline (ERR_NGROK_3200)"),
    "ERR_NGROK_8012": ("unknown", "ngrok could not reach the local port (ERR_NGROK_8012)"),
    "ERR_NGROK_6024": ("ok", "ngrok's page before the first visit (ERR_NGROK_6024)"),
}


def verdict_of(status: int, headers: Mapping[str, str]) -> tuple[Verdict, str]:
    """The verdict on the tunnel, and the reason for a person; `headers` by lower-case name.

    Only what is certainly a provider's page saying "no such tunnel" is a failure. What a proxy on
    the way may have said is `unknown`: whether the local port is closed is another check.
    """
    ngrok = headers.get("ngrok-error-code")
    if ngrok:
        return _NGROK.get(ngrok, ("unknown", f"ngrok answered {one_line(ngrok)[:40]}"))
    cloudflare = headers.get("server", "").lower() == "cloudflare"
    if cloudflare and status == 530:  # with `error code: 1033` or `1016` in the body
        return "fail", "Cloudflare has no connection to this tunnel (HTTP 530)"
    if status in (502, 503, 504) or (cloudflare and 520 <= status <= 527):
        return "unknown", f"HTTP {status}: the tunnel answered, perhaps not your application"
    if status in (407, 511):  # Proxy Authentication Required, Network Authentication Required
        return "unknown", f"HTTP {status}: this machine's network wants a login first"
    return "ok", f"HTTP {status}"
