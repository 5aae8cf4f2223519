"""The ASGI middleware: nothing of a stranger reaches the application."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import anyio
import pytest
from prx_tunnel_webhooks import verify
from prx_tunnel_webhooks.verify.asgi import App, Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio

SECRET = "a-secret"
BODY = b'{"a": 1}'


class Application:
    """Takes what arrives; `status` is its answer."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.scopes: list[Scope] = []
        self.status = 202
        self.fails: BaseException | None = None
        self.goes_on: anyio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive()).get("more_body", False):
            body += message["body"]
        self.taken.append((scope["path"], body + message["body"]))
        if self.goes_on is not None:
            await self.goes_on.wait()
        if self.fails is not None:
            raise self.fails
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def headers(body: bytes = BODY, delivery: str = "1") -> list[tuple[bytes, bytes]]:
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return [
        (b"x-hub-signature-256", f"sha256={signature}".encode()),
        (b"x-github-delivery", delivery.encode()),
    ]


def in_pieces(*pieces: bytes) -> Receive:
    """The server's side: the body in pieces, then silence."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False

    async def receive() -> Message:
        await anyio.lowlevel.checkpoint()
        if messages:
            return messages.pop(0)
        await anyio.sleep_forever()
        raise AssertionError

    return receive


async def request(
    app: App,
    *pieces: bytes,
    path: str = "/hook",
    method: str = "POST",
    given: list[tuple[bytes, bytes]] | None = None,
    receive: Receive | None = None,
    root_path: str = "",
) -> int:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        sent.append(message)

    pieces = pieces or (BODY,)
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root_path,
        "headers": headers(b"".join(pieces)) if given is None else given,
    }
    await app(scope, receive or in_pieces(*pieces), send)
    return int(sent[0]["status"])


def guarded(application: Application, **options: Any) -> verify.VerifiedWebhooks:
    return verify.VerifiedWebhooks(application, "/hook", verify.github, SECRET, **options)


async def test_what_is_signed_arrives_byte_for_byte_with_its_id() -> None:
    application = Application()
    assert await request(guarded(application), b"\xff", b"", b"\x00{ }") == 202
    assert application.taken == [("/hook", b"\xff\x00{ }")]
    assert application.scopes[0]["state"] == {"webhook": "1"}


@pytest.mark.parametrize("path", ["/hook", "/hook/", "/hook/below"])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
async def test_m05_what_is_not_signed_does_not(path: str, method: str) -> None:
    application = Application()
    app = guarded(application)
    wrong = [(b"x-hub-signature-256", b"sha256=" + b"0" * 64), (b"x-github-delivery", b"1")]
    for given in ([], wrong, headers()[:1], headers() + headers()[:1]):
        assert await request(app, path=path, method=method, given=given) == 401
    assert application.scopes == []


@pytest.mark.parametrize("path", ["/", "/other", "/hooks"])
async def test_other_paths_and_the_lifespan_are_the_application_s_own(path: str) -> None:
    application = Application()
    assert await request(guarded(application), path=path, given=[]) == 202

    async def never() -> Message:
        raise NotImplementedError

    async def nothing(_: Message) -> None:
        raise NotImplementedError

    await guarded(application)({"type": "lifespan"}, never, nothing)
    assert application.scopes[-1]["type"] == "lifespan"


async def test_no_websocket_gets_around_it() -> None:
    application, sent = Application(), []

    async def send(message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        sent.append(message)

    scope = {"type": "websocket", "path": "/hook", "headers": headers()}
    await guarded(application)(scope, in_pieces(b""), send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert application.scopes == []


async def test_m09_too_large_is_refused_before_it_is_read_or_signed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_hmac(*_: object) -> None:
        raise AssertionError

    signed = headers()
    given = [*signed, (b"content-length", b"100000000")]
    monkeypatch.setattr("hmac.new", no_hmac)

    async def unread() -> Message:
        raise AssertionError

    app = guarded(Application())
    assert await request(app, given=given, receive=unread) == 413
    assert await request(app, *[b"x" * 65_536] * 17, given=signed) == 413
    given = [*signed, (b"content-length", b"9" * 5000)]
    assert await request(app, given=given, receive=unread) == 413


async def test_m09_a_body_that_is_slow_is_given_up() -> None:
    async def drips() -> Message:
        await anyio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    assert await request(guarded(Application(), timeout=0.1), receive=drips) == 408


async def test_a_sender_that_leaves_is_let_go() -> None:
    async def leaves() -> Message:
        await anyio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    application = Application()
    assert await request(guarded(application), receive=leaves) == 400
    assert application.scopes == []


async def test_m07_a_delivery_is_taken_once() -> None:
    application = Application()
    app = guarded(application)
    assert [await request(app) for _ in range(3)] == [202, 200, 200]
    assert await request(app, given=headers(delivery="2")) == 202
    assert len(application.taken) == 2


@pytest.mark.parametrize("status", [400, 500, 503])
async def test_one_that_was_not_taken_may_come_again(status: int) -> None:
    application = Application()
    app = guarded(application)
    application.status = status
    assert await request(app) == status
    application.fails = RuntimeError("oops")
    with pytest.raises(RuntimeError):
        await request(app)
    application.status, application.fails = 202, None
    assert [await request(app), await request(app)] == [202, 200]
    assert len(application.taken) == 3


async def test_one_that_is_under_way_is_not_begun_again() -> None:
    application = Application()
    application.goes_on = anyio.Event()
    app = guarded(application)
    answers: list[int] = []

    async def deliver() -> None:
        answers.append(await request(app))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(deliver)
        while not application.taken:
            await anyio.lowlevel.checkpoint()
        assert await request(app) == 409
        application.goes_on.set()
    assert answers == [202]


async def test_remembering_can_be_switched_off_and_is_bounded() -> None:
    app = guarded(Application(), remembered=0)
    assert [await request(app), await request(app)] == [202, 202]
    app = guarded(Application(), remembered=2)
    for delivery in ("1", "2", "3", "1"):
        assert await request(app, given=headers(delivery=delivery)) == 202


async def test_after_the_body_the_server_is_heard_again() -> None:
    messages: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        messages.append(await receive())
        messages.append(await receive())
        await send({"type": "http.response.start", "status": 202, "headers": []})

    queue: list[Message] = [
        {"type": "http.request", "body": BODY, "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        await anyio.lowlevel.checkpoint()
        return queue.pop(0)

    app = verify.VerifiedWebhooks(application, "/hook", verify.github, SECRET)
    assert await request(app, receive=receive) == 202
    assert [message["type"] for message in messages] == ["http.request", "http.disconnect"]


@pytest.mark.parametrize("secret", ["", None, []])
async def test_it_is_not_built_without_a_secret(secret: Any) -> None:
    schemes: list[Callable[..., Any]] = [
        verify.github,
        verify.slack,
        verify.telegram,
        verify.stripe,
        verify.standard_webhooks,
    ]
    for scheme in schemes:
        with pytest.raises(ValueError, match="without its secret"):
            verify.VerifiedWebhooks(Application(), "/hook", scheme, secret)


@pytest.mark.parametrize("path", ["/hook%0a", "//hook", "/hook//x", "/x/../hook", "/other//", "*"])
async def test_s01_an_ambiguous_path_is_not_passed_on_even_signed(path: str) -> None:
    application = Application()
    assert await request(guarded(application), path=unquote(path)) == 404
    assert application.scopes == []


@pytest.mark.parametrize("path", ["hook", "", "/hook/{name}", "/a//b", "https://example.com/hook"])
def test_s01_a_path_that_would_guard_nothing_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"^path: "):
        verify.VerifiedWebhooks(Application(), path, verify.github, SECRET)


async def test_s07_other_kinds_of_scopes_are_refused() -> None:
    application = Application()
    with pytest.raises(ValueError, match="webtransport"):
        await guarded(application)(
            {"type": "webtransport", "path": "/hook"}, in_pieces(b""), _unheard
        )
    assert application.scopes == []


async def _unheard(_: Message) -> None:
    raise AssertionError


@pytest.mark.parametrize("path", ["/hook", "/sub/hook"])
async def test_it_guards_below_a_mount_as_well(path: str) -> None:
    application = Application()
    app = verify.VerifiedWebhooks(application, path, verify.github, SECRET)
    assert await request(app, path="/sub/hook", root_path="/sub", given=[]) == 401
    assert await request(app, path="/hook", root_path="/sub", given=[]) == 401
    assert await request(app, path="/sub/other", root_path="/sub", given=[]) == 202


async def test_the_root_guards_everything() -> None:
    application = Application()
    app = verify.VerifiedWebhooks(application, "/", verify.github, SECRET)
    for path in ("/", "/x", "/x/y"):
        assert await request(app, path=path, given=[]) == 401
