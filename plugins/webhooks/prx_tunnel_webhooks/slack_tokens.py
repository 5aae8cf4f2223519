"""Slack's app configuration tokens: valid for 12 hours, and renewed by a token for one use.

https://docs.slack.dev/reference/methods/tooling.tokens.rotate
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
from pydantic import SecretStr

from prx_tunnel_core import trust
from prx_tunnel_core.logs import get_logger
from prx_tunnel_webhooks.api import Refusal

logger = get_logger("prx_tunnel_webhooks")

EARLY = 600  # seconds before its end at which a token is renewed

Call = Callable[[str, dict[str, str]], Awaitable[dict[str, Any]]]


class Tokens:
    """The token that is valid now, and the refresh token for the next one.

    The file holds the pair that came last, and from which configured refresh token it descends: a
    new one in the configuration takes the place of all that.
    """

    def __init__(
        self, token: SecretStr | None, refresh: SecretStr | None, file: str | None
    ) -> None:
        self._refresh = refresh.get_secret_value() if refresh else ""
        self._origin = hashlib.sha256(self._refresh.encode()).hexdigest()
        self._file = Path(file) if file else None
        self._expires = 0.0
        self.current = token.get_secret_value() if token else ""
        self._read()

    @property
    def renewable(self) -> bool:
        return bool(self._refresh)

    @property
    def stale(self) -> bool:
        ends = self._expires or float("inf")  # of the configured one, only Slack knows
        return self.renewable and (not self.current or time.time() > ends - EARLY)

    @property
    def secrets(self) -> list[str]:
        return [secret for secret in (self.current, self._refresh) if secret]

    async def rotate(self, call: Call) -> None:
        """Raises Refusal."""
        before = self.current
        self._read()  # another run may have renewed them, and ours are used up
        if self.current != before and not self.stale:
            return
        told = await call("tooling.tokens.rotate", {"refresh_token": self._refresh})
        current, refresh, expires = (told.get(key) for key in ("token", "refresh_token", "exp"))
        if not (isinstance(current, str) and isinstance(refresh, str) and current and refresh):
            raise Refusal("tooling.tokens.rotate: Slack sent no tokens")
        self.current, self._refresh = current, refresh
        self._expires = float(expires) if isinstance(expires, int) else 0.0
        # Not abandoned when the time is over: Slack takes the old one no more.
        await anyio.to_thread.run_sync(self._write)

    def _read(self) -> None:
        if self._file is None:
            return
        try:
            with open(trust.open_file(str(self._file)), encoding="utf-8") as file:
                kept = json.load(file)
            if kept["origin"] == self._origin:
                self.current, self._refresh = str(kept["token"]), str(kept["refresh_token"])
                self._expires = float(kept["expires"])
        except trust.Untrusted as error:
            logger.warning("the Slack tokens are not read: %s", error)
        except (OSError, ValueError, TypeError, LookupError):
            return  # none yet, or not ours: start again

    def _write(self) -> None:
        """Write the file atomically, readable only by this user."""
        if self._file is None:
            return
        kept = {
            "origin": self._origin,
            "token": self.current,
            "refresh_token": self._refresh,
            "expires": self._expires,
        }
        try:
            number, name = tempfile.mkstemp(dir=self._file.parent, prefix=".slack-")  # 0600
            with os.fdopen(number, "w", encoding="utf-8") as file:
                json.dump(kept, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._file)
        except OSError as error:
            raise Refusal(
                f"the new Slack tokens cannot be kept in {self._file} ({error.strerror}): they "
                "will be lost when this program ends"
            ) from None
