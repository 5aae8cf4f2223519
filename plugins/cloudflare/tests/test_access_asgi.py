"""Access as ASGI middleware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from cloudflare_kit.team import BAD, Team, mint
from prx_tunnel_cloudflare.access import AccessMiddleware, AccessVerifier

pytestmark = pytest.mark.anyio


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "reached", "claims": scope.get("cloudflare_access")})


async def ask(
    verifier: AccessVerifier,
    headers: list[tuple[bytes, bytes]],
    kind: str = "http",
    path: str = "/hook",
) -> list[Mapping[str, Any]]:
    sent: list[Mapping[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": f"{kind}.connect"}

    middleware = AccessMiddleware(application, verifier)
    await middleware({"type": kind, "path": path, "headers": headers}, receive, send)
    return sent


async def test_middleware_lets_in(verifier: AccessVerifier) -> None:
    headers = [(b"host", b"x"), (b"cf-access-jwt-assertion", mint().encode())]
    for kind in ("http", "websocket"):
        (message,) = await ask(verifier, headers, kind)
        assert message["claims"]["email"] == "user@example.com"


@pytest.mark.parametrize("name", ["expired", "wrong audience", "none", "garbage", "not base64"])
async def test_middleware_keeps_out(verifier: AccessVerifier, name: str) -> None:
    token = BAD[name]().encode("latin-1")
    start, body = await ask(verifier, [(b"cf-access-jwt-assertion", token)])
    assert start["status"] == 403
    assert body["body"] == b"Forbidden\n"


async def test_middleware_wants_exactly_one_header(verifier: AccessVerifier) -> None:
    header = (b"cf-access-jwt-assertion", mint().encode())
    cookie = (b"cookie", b"CF_Authorization=" + mint().encode())
    underscored = (b"cf_access_jwt_assertion", b"forged")
    for headers in ([], [header, header], [cookie], [underscored, header], [underscored]):
        start, _ = await ask(verifier, headers)
        assert start["status"] == 403
    (closed,) = await ask(verifier, [], "websocket")
    assert closed == {"type": "websocket.close", "code": 1008}


async def test_middleware_while_the_team_is_down(verifier: AccessVerifier, team: Team) -> None:
    team.answer = (500, b"")
    headers = [(b"cf-access-jwt-assertion", mint().encode())]
    start, _ = await ask(verifier, headers)
    assert start["status"] == 503
    assert (b"retry-after", b"10") in start["headers"]
    (closed,) = await ask(verifier, headers, "websocket")
    assert closed["code"] == 1013


async def test_middleware_leaves_the_lifespan_alone(verifier: AccessVerifier) -> None:
    (message,) = await ask(verifier, [], "lifespan")
    assert message == {"type": "reached", "claims": None}


async def test_s07_other_kinds_of_scopes_are_refused(verifier: AccessVerifier) -> None:
    with pytest.raises(ValueError, match="webtransport"):
        await ask(verifier, [(b"cf-access-jwt-assertion", mint().encode())], "webtransport")


async def test_many_at_once_ask_for_the_keys_once(verifier: AccessVerifier, team: Team) -> None:
    headers = [(b"cf-access-jwt-assertion", mint().encode())]
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask, verifier, headers)
    assert team.requests == 1


async def test_s14_a_refused_path_forges_no_record(
    verifier: AccessVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/x\nCRITICAL forged\x1b]0;owned\x07", "/x\rCRITICAL forged", "/" + "x" * 70000):
        await ask(verifier, [], path=path)
    shown = [each.getMessage() for each in caplog.records]
    assert [each.partition(": ")[0] for each in shown[:2]] == ["refused /x CRITICAL forged"] * 2
    assert all(each.isprintable() and len(each) < 600 for each in shown)
