"""The signatures of webhooks, each over the raw body and compared in constant time.

Each scheme has two steps: what the headers alone show (they are there, well formed, and of these
minutes), then the body. A request that fails the first is refused before its body is read.

Only SHA-256 counts. A secret may be several, while the old one is being replaced. Standard
Webhooks is verified by the library of its authors. Those of Stripe and Slack are their whole API
clients (1650 modules, and 300 kB) around the few lines here, and a hostile header makes them raise
what nobody expects; what they sign is in the tests.

A secret that cannot be one raises ValueError, before anything is looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

from prx_tunnel_webhooks.verify.headers import Headers, Rejected, one
from prx_tunnel_webhooks.verify.keys import Secrets, keys, texts

WINDOW = 300.0  # seconds that a timestamp may be old, or ahead of this machine's clock
TELEGRAM_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")

_SECONDS = re.compile(r"[0-9]{1,12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STANDARD_SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]{43}=")
MOST_CANDIDATES = 16


@dataclass(frozen=True)
class Delivery:
    """A verified webhook."""

    id: str
    """Its id, which stays the same when the provider sends it again."""


BodyCheck: TypeAlias = Callable[[bytes], Delivery]
"""The second step: verifies the body; raises Rejected."""


class Scheme(Protocol):
    def __call__(self, headers: Headers, body: bytes, secret: Secrets) -> Delivery:
        """Raises Rejected."""
        ...


@dataclass(frozen=True)
class HeadersFirst:
    """A scheme made of its first step; the name is for logs."""

    step: Callable[[Headers, Secrets], BodyCheck]

    def __call__(self, headers: Headers, body: bytes, secret: Secrets) -> Delivery:
        return self.step(headers, secret)(body)

    def __repr__(self) -> str:
        return f"<scheme {self.step.__name__}>"


def check_headers(scheme: Scheme, headers: Headers, secret: Secrets) -> BodyCheck:
    """The first step, which alone runs for an unsigned request; raises Rejected.

    A scheme that is a plain function has one step only: it needs the body.
    """
    if isinstance(scheme, HeadersFirst):
        return scheme.step(headers, secret)
    return partial(_whole, scheme, headers, secret)


def _whole(scheme: Scheme, headers: Headers, secret: Secrets, body: bytes) -> Delivery:
    return scheme(headers, body, secret)


@HeadersFirst
def github(headers: Headers, secret: Secrets) -> BodyCheck:
    """`X-Hub-Signature-256`. It has no timestamp, and the delivery's id is not signed.

    https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    """
    known = keys(secret)
    candidates = _well_formed([_bare(one(headers, "x-hub-signature-256"), "sha256=")])
    delivery = Delivery(one(headers, "x-github-delivery"))

    def check(body: bytes) -> Delivery:
        _compare(candidates, known, body)
        return delivery

    return check


@HeadersFirst
def slack(headers: Headers, secret: Secrets) -> BodyCheck:
    """`X-Slack-Signature`, version `v0`, with a timestamp.

    https://docs.slack.dev/authentication/verifying-requests-from-slack
    """
    known = keys(secret)
    moment = _recent(one(headers, "x-slack-request-timestamp"))
    candidates = _well_formed([_bare(one(headers, "x-slack-signature"), "v0=")])

    def check(body: bytes) -> Delivery:
        fitting = _compare(candidates, known, b"v0:%s:%s" % (moment, body))
        return Delivery(_field(body, "event_id") or fitting)

    return check


@HeadersFirst
def telegram(headers: Headers, secret: Secrets) -> BodyCheck:
    """`X-Telegram-Bot-Api-Secret-Token`: the secret itself, so no signature of the body.

    https://core.telegram.org/bots/api#setwebhook
    """
    known = keys(secret)
    candidate = one(headers, "x-telegram-bot-api-secret-token").encode()
    if not _any(hmac.compare_digest(candidate, key) for key in known):
        raise Rejected("the secret token is another")

    def check(body: bytes) -> Delivery:
        number = _field(body, "update_id")
        if not number:
            raise Rejected("the body is no update")
        return Delivery(number)

    return check


@HeadersFirst
def stripe(headers: Headers, secret: Secrets) -> BodyCheck:
    """`Stripe-Signature`: a timestamp and signatures of the version `v1`.

    https://docs.stripe.com/webhooks#verify-manually
    """
    known = keys(secret)
    parts = [part.partition("=") for part in one(headers, "stripe-signature").split(",")]
    times = [value for key, _, value in parts if key == "t"]
    if len(times) != 1:
        raise Rejected("stripe-signature has no timestamp, or several")
    moment = _recent(times[0])
    candidates = _well_formed([value for key, _, value in parts if key == "v1"])

    def check(body: bytes) -> Delivery:
        fitting = _compare(candidates, known, b"%s.%s" % (moment, body))
        return Delivery(_field(body, "id") or fitting)

    return check


@HeadersFirst
def standard_webhooks(headers: Headers, secret: Secrets) -> BodyCheck:
    """`webhook-signature`, symmetric (`v1`), with a timestamp and a signed id.

    https://www.standardwebhooks.com
    """
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError

    known = [Webhook(text) for text in texts(secret)]
    name, moment = one(headers, "webhook-id"), one(headers, "webhook-timestamp")
    _recent(moment)
    # The library raises other errors for a candidate that is malformed, and tries as many as come.
    found = one(headers, "webhook-signature").split(" ")[:MOST_CANDIDATES]
    candidates = list(filter(_STANDARD_SIGNATURE.fullmatch, found))
    if not candidates:
        raise Rejected("no signature is of the version v1 and well formed")
    signed = {
        "webhook-id": name,
        "webhook-timestamp": moment,
        "webhook-signature": " ".join(candidates),
    }

    def check(body: bytes) -> Delivery:
        for webhook in known:
            try:
                webhook.verify(body, signed, json_parse=False)
            except (WebhookVerificationError, UnicodeDecodeError):
                continue  # it may be another key's; and a body that is no text is nobody's
            return Delivery(name)
        raise Rejected("no signature fits")

    return check


def _bare(signature: str, version: str) -> str:
    """The signature without its version; other versions do not count."""
    if not signature.startswith(version):
        raise Rejected(f"the signature does not begin with {version}")
    return signature.removeprefix(version)


def _well_formed(signatures: Sequence[str]) -> list[bytes]:
    """The first few that have the form of a signature."""
    found = signatures[:MOST_CANDIDATES]
    candidates = [each.encode() for each in found if _SHA256.fullmatch(each)]
    if not candidates:
        raise Rejected("no signature is well formed: 64 digits of lower-case hexadecimal")
    return candidates


def _compare(candidates: Sequence[bytes], known: Sequence[bytes], content: bytes) -> str:
    """The valid signature among the candidates, in hex; raises Rejected when there is none."""
    for key in known:
        signature = hmac.new(key, content, hashlib.sha256).hexdigest()
        if _any(hmac.compare_digest(signature.encode(), each) for each in candidates):
            return signature
    raise Rejected("no signature fits")


def _any(results: Iterable[bool]) -> bool:
    """Like `any`, but evaluates all, so that the time reveals nothing."""
    return sum(results) > 0


def _recent(text: str) -> bytes:
    if not _SECONDS.fullmatch(text):
        raise Rejected("the timestamp is no number of seconds")
    age = time.time() - int(text)
    if abs(age) > WINDOW:
        word = "old" if age > 0 else "in the future"
        raise Rejected(f"the timestamp is {abs(age):.0f} s {word}; is this machine's clock right?")
    return text.encode()


def _field(body: bytes, name: str) -> str:
    """A field of the body's JSON object; "" when there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    field = value.get(name) if isinstance(value, dict) else None
    return str(field) if isinstance(field, str | int) and not isinstance(field, bool) else ""
