"""One webhook, kept registered for the newest URL."""

from __future__ import annotations

import random
import time

import anyio

from prx_tunnel_core.logs import get_logger
from prx_tunnel_core.text import one_line
from prx_tunnel_core.urls import join
from prx_tunnel_webhooks.api import Api, Refusal
from prx_tunnel_webhooks.hook import Hook

logger = get_logger("prx_tunnel_webhooks")

LONGEST_REASON = 400  # characters

# Not the global generator: hosts that seed it alike would all come back at the same moment.
_random = random.SystemRandom()


class Registration:
    """Registers the wanted URL, one attempt at a time: an older URL never replaces a newer one."""

    def __init__(self, name: str, hook: Hook, api: Api) -> None:
        self.name = name
        self._hook = hook
        self._provider = hook.provider(api)
        self._redact = api.redact
        self._wanted: str | None = None
        self._news = anyio.Event()
        self._tried: str | None = None
        self._registered: str | None = None
        self._problem = ""
        self._failures = 0
        self._retry_at = 0.0
        self._not_before = 0.0
        """The time before which the provider asked for no further requests."""

    @property
    def state(self) -> str:
        """`pending`, `registered` or `failed`, and details for the user."""
        if self._wanted is None:
            return "pending: the tunnel has no URL yet"
        if self._registered == self._wanted:
            return f"registered {self._registered}"
        if not self._problem:
            return f"pending {self._wanted}"
        left = max(0.0, self._due - time.monotonic())
        return f"failed: {self._problem}; next try in {left:.0f} s"

    def want(self, public_url: str) -> None:
        """Register the webhook below this URL."""
        self._wanted = join(public_url, self._hook.path)
        self._news.set()

    async def keep(self) -> None:
        """Register the wanted URL and retry failures, for ever."""
        while True:
            await self._attempt(await self._next())

    async def remove(self) -> None:
        """Remove the webhook if configured; never raises."""
        if not self._hook.removes or self._tried is None:
            return
        try:
            await self._provider.remove(self._tried)
        except Exception as error:  # noqa: BLE001 - too late to act on it
            logger.warning("webhook %s: not removed: %s", self.name, self._words(error))
        else:
            logger.info("webhook %s: removed", self.name)

    @property
    def _due(self) -> float:
        """When to try the wanted URL: a new one at once, the same one after its delay."""
        retry = self._retry_at if self._wanted == self._tried else 0.0
        return max(retry, self._not_before)

    async def _next(self) -> str:
        while True:
            delay = float("inf")
            if self._wanted is not None and self._wanted != self._registered:
                delay = self._due - time.monotonic()
                if delay <= 0:
                    return self._wanted
            self._news = anyio.Event()
            with anyio.move_on_after(delay):
                await self._news.wait()

    async def _attempt(self, url: str) -> None:
        if url != self._tried:
            self._failures, self._problem = 0, ""
        # From here on, it is unknown which one the provider has.
        self._tried, self._registered = url, None
        try:
            _check_scheme(url)
            with anyio.fail_after(self._hook.timeout):
                await self._provider.register(url)
        except TimeoutError:
            self._failed(f"no answer within {self._hook.timeout:g} s")
        except Refusal as refusal:
            self._failed(self._words(refusal), refusal.retry_after)
        except Exception as error:
            logger.debug("webhook %s", self.name, exc_info=True)
            self._failed(f"a defect of prx-tunnel-webhooks: {self._words(error)}")
        else:
            self._registered, self._problem = url, ""
            logger.info("webhook %s: registered %s", self.name, self._redact(url))

    def _failed(self, problem: str, retry_after: float = 0.0) -> None:
        if problem != self._problem:
            logger.warning("webhook %s: %s", self.name, problem)
        self._problem = problem
        self._failures += 1
        now = time.monotonic()
        self._not_before = now + retry_after
        self._retry_at = now + delay_after(self._failures, self._hook)

    def _words(self, error: Exception) -> str:
        kind = "" if isinstance(error, Refusal) else f"{type(error).__name__}: "
        # Cut last: half a secret would not be recognised.
        return self._redact(one_line(f"{kind}{error}"))[:LONGEST_REASON]


def delay_after(failures: int, hook: Hook) -> float:
    """Seconds, with equal jitter: half of the exponential delay and a random part of the rest."""
    doublings = min(failures - 1, 62)  # no number of a million bits after a million failures
    ceiling = min(hook.backoff_max_ms, hook.backoff_base_ms * (1 << doublings)) / 1000
    return ceiling / 2 + _random.uniform(0, ceiling / 2)


def _check_scheme(url: str) -> None:
    scheme = url.partition(":")[0]
    if scheme not in ("https", "http"):
        raise Refusal(f"a webhook needs an http URL, and the tunnel's is {scheme}")
