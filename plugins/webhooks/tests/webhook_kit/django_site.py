"""Django in one process with several sites: its settings can be made only once."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.core.handlers.asgi import ASGIHandler  # type: ignore[import-untyped]

from prx_tunnel_core.middleware import App

urlpatterns: list[Any] = []

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DEBUG_PROPAGATE_EXCEPTIONS=True,
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="of no use",
    )
    django.setup()


class _Site(ASGIHandler):  # type: ignore[misc]
    def __init__(self, patterns: list[Any]) -> None:
        super().__init__()
        self._urls = ModuleType("urls")
        self._urls.urlpatterns = patterns  # type: ignore[attr-defined]

    def create_request(self, scope: Any, body_file: Any) -> Any:
        request, error = super().create_request(scope, body_file)
        if request is not None:
            request.urlconf = self._urls
        return request, error


def site(*patterns: Any) -> App:
    app: App = _Site(list(patterns))
    return app
