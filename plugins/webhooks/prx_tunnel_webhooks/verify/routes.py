"""A guard for one route: the framework's router selects it, so no spelling of a path bypasses it.

No framework is imported before one of its decorators is used.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from functools import cached_property, wraps
from typing import Any, TypeVar, Unpack

from prx_tunnel_webhooks.verify.answers import Answer
from prx_tunnel_webhooks.verify.headers import Headers
from prx_tunnel_webhooks.verify.keys import Secrets
from prx_tunnel_webhooks.verify.schemes import Delivery, Scheme
from prx_tunnel_webhooks.verify.verifier import Limits, Verifier

View = TypeVar("View", bound=Callable[..., Any])


class RouteGuard:
    """Lets a route handle only requests that the scheme accepts with the secret.

        github = RouteGuard(verify.github, SECRET)

        @app.post("/webhooks/github")                        # FastAPI
        async def pushed(delivery: Annotated[Delivery, Depends(github.fastapi)]): ...

        @github.starlette                                    # beneath @app.post(…), if there is one
        @github.flask
        @github.django

    The answers are those of `VerifiedWebhooks`, and so are the limits. The handler reads the body
    as always; the id of the delivery is in `request.state.webhook` (FastAPI, Starlette),
    `flask.g.webhook`, and `request.webhook` (Django). Raises ValueError without a secret.
    """

    def __init__(self, scheme: Scheme, secret: Secrets, **limits: Unpack[Limits]) -> None:
        self._verifier = Verifier(scheme, secret, **limits)

    @cached_property
    def fastapi(self) -> Callable[..., AsyncIterator[Delivery]]:
        """A dependency that gives the `Delivery`; it counts as taken unless the handler raises."""
        from starlette.exceptions import HTTPException
        from starlette.requests import Request

        async def verified(request: Request) -> AsyncIterator[Delivery]:
            try:
                delivery = await self._verified(request)
            except Answer as answer:
                raise HTTPException(answer.status, headers=answer.headers) from None
            with self._verifier.handling(delivery) as handling:
                yield delivery
                handling.status = 200

        # FastAPI looks for the class in this module, where it is not.
        verified.__annotations__["request"] = Request
        return verified

    def starlette(self, endpoint: View) -> View:
        """A decorator for an endpoint: a function, or a method of an `HTTPEndpoint`."""
        from starlette.concurrency import run_in_threadpool
        from starlette.requests import Request
        from starlette.responses import Response

        @wraps(endpoint)
        async def guarded(*args: Any, **kwargs: Any) -> Any:
            given = [each for each in (*args, *kwargs.values()) if isinstance(each, Request)]
            if not given:
                raise TypeError(f"{endpoint!r} has to take the request, to have it verified")
            try:
                delivery = await self._verified(given[0])
            except Answer as answer:
                return Response(status_code=answer.status, headers=answer.headers)
            with self._verifier.handling(delivery) as handling:
                if inspect.iscoroutinefunction(endpoint):
                    response = await endpoint(*args, **kwargs)
                else:
                    response = await run_in_threadpool(endpoint, *args, **kwargs)
                # FastAPI makes a response of anything else later on.
                handling.status = getattr(response, "status_code", 200)
            return response

        return guarded  # type: ignore[return-value]

    def flask(self, view: View) -> View:
        """A decorator for a view, beneath `@app.post(…)`; needs Flask 3.1."""
        from flask import Response, current_app, g, make_response, request

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            request.max_content_length = self._verifier.max_body
            try:
                delivery = self._verified_at_once(request.headers, request.get_data)
            except Answer as answer:
                return Response(status=answer.status, headers=answer.headers)
            g.webhook = delivery.id
            with self._verifier.handling(delivery) as handling:
                response = make_response(current_app.ensure_sync(view)(*args, **kwargs))
                handling.status = response.status_code
            return response

        return guarded  # type: ignore[return-value]

    def django(self, view: View) -> View:
        """A decorator for a view; a signature needs no protection against cross-site forgery."""
        from django.http import HttpResponse  # type: ignore[import-untyped]
        from django.views.decorators.csrf import csrf_exempt  # type: ignore[import-untyped]

        def refused(answer: Answer) -> Any:
            return HttpResponse(status=answer.status, headers=answer.headers)

        def verified(request: Any) -> Delivery:
            delivery = self._verified_at_once(request.headers, lambda: request.body)
            request.webhook = delivery.id
            return delivery

        @wraps(view)
        def guarded(request: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                delivery = verified(request)
            except Answer as answer:
                return refused(answer)
            with self._verifier.handling(delivery) as handling:
                response = view(request, *args, **kwargs)
                handling.status = response.status_code
            return response

        @wraps(view)
        async def guarded_async(request: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                delivery = verified(request)
            except Answer as answer:
                return refused(answer)
            with self._verifier.handling(delivery) as handling:
                response = await view(request, *args, **kwargs)
                handling.status = response.status_code
            return response

        chosen = guarded_async if inspect.iscoroutinefunction(view) else guarded
        return csrf_exempt(chosen)  # type: ignore[no-any-return]

    async def _verified(self, request: Any) -> Delivery:
        """For a `starlette.requests.Request`; raises Answer."""
        from starlette.requests import ClientDisconnect

        check = self._verifier.check_headers(request.headers.raw)
        try:
            body = await self._verifier.bodies.read(request.stream())
        except ClientDisconnect:
            raise Answer(400) from None
        # Where Starlette itself keeps a body that was read whole: `request.json()` finds it there.
        request._body = body  # noqa: SLF001
        delivery = self._verifier.check_body(check, body)
        request.state.webhook = delivery.id
        return delivery

    def _verified_at_once(self, headers: Headers, read: Callable[[], bytes]) -> Delivery:
        """For a synchronous framework, which limits the body itself; raises Answer."""
        check = self._verifier.check_headers(headers)
        body = read()
        if len(body) > self._verifier.max_body:
            raise Answer(413)
        return self._verifier.check_body(check, body)
