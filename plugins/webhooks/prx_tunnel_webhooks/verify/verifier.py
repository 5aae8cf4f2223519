"""The steps of a verification, shared by the middleware and the guards of routes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypedDict

from prx_tunnel_core.logs import get_logger
from prx_tunnel_webhooks.verify.answers import Answer
from prx_tunnel_webhooks.verify.bodies import MOST_BODIES, MOST_BUFFERED, Bodies
from prx_tunnel_webhooks.verify.deliveries import KEPT, Deliveries
from prx_tunnel_webhooks.verify.headers import Headers, Rejected, values
from prx_tunnel_webhooks.verify.keys import Secrets
from prx_tunnel_webhooks.verify.schemes import BodyCheck, Delivery, Scheme, check_headers

logger = get_logger("prx_tunnel_webhooks")

LARGEST_BODY = 1024 * 1024  # bytes; GitHub's largest webhook is 25 MB, most are a few kB
PATIENCE = 10.0  # seconds for the whole body


class Limits(TypedDict, total=False):
    """Options of `VerifiedWebhooks` and `RouteGuard`."""

    max_body: int
    timeout: float
    max_bodies: int
    max_buffered: int
    remembered: int


@dataclass
class Handling:
    """One delivery while the application handles it; `status` is the application's answer."""

    status: int = 500


class Verifier:
    """One scheme with one secret; raises ValueError without a secret."""

    def __init__(
        self,
        scheme: Scheme,
        secret: Secrets,
        *,
        max_body: int = LARGEST_BODY,
        timeout: float = PATIENCE,
        max_bodies: int = MOST_BODIES,
        max_buffered: int = MOST_BUFFERED,
        remembered: int = KEPT,
    ) -> None:
        # A missing or malformed secret fails when the program starts, not when a webhook comes.
        with suppress(Rejected):
            scheme([], b"", secret)
        self.max_body = max_body
        self.bodies = Bodies(max_body, timeout, max_bodies, max_buffered)
        self._scheme = scheme
        self._secret = secret
        self._deliveries = Deliveries(remembered)

    def check_headers(self, headers: Headers) -> BodyCheck:
        """Before the body is read; raises Answer."""
        if _length(headers) > self.max_body:
            raise Answer(413)
        try:
            return check_headers(self._scheme, headers, self._secret)
        except Rejected as reason:
            raise _refusal(reason) from None

    def check_body(self, check: BodyCheck, body: bytes) -> Delivery:
        """Begin a delivery; raises Answer when it is invalid or known."""
        try:
            delivery = check(body)
        except Rejected as reason:
            raise _refusal(reason) from None
        known = self._deliveries.begin(delivery.id)
        if known != "new":
            raise Answer(200 if known == "done" else 409)
        return delivery

    @contextmanager
    def handling(self, delivery: Delivery) -> Iterator[Handling]:
        """Record whether the application took the delivery; it did not when it raises."""
        handling = Handling()
        try:
            yield handling
        except BaseException:
            self._deliveries.end(delivery.id, taken=False)
            raise
        self._deliveries.end(delivery.id, taken=handling.status < 400)


def _refusal(reason: Rejected) -> Answer:
    logger.info("a webhook was refused: %s", reason)
    return Answer(401)


def _length(headers: Headers) -> int:
    """The declared length; the actual one is counted while the body is read."""
    # Cut: Python reads no number of 5000 digits, and 18 are too many bytes already.
    lengths = (value.strip()[:18] for value in values(headers, "content-length"))
    return max((int(each) for each in lengths if each.isdecimal()), default=0)
