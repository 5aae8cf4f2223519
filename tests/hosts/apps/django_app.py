"""Django: asynchronous with `with_tunnel`, synchronous with a blocking tunnel."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, JsonResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

from prx_tunnel_core import blocking
from prx_tunnel_core.access import is_public_request, scope_of
from prx_tunnel_core.asgi import with_tunnel

CONFIG = {"backend": "ssh", "local_port": int(os.environ["PORT"])}
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="of no use", DEBUG=False
)


def home(request: HttpRequest) -> JsonResponse:
    if hasattr(request, "scope"):
        tunnel: Any = request.scope["state"]["tunnel"]
        public = is_public_request(request.scope, tunnel.info)
    else:
        tunnel = _tunnel()
        public = is_public_request(scope_of(request.META), tunnel.info)
    return JsonResponse({"url": tunnel.info and tunnel.info.public_url, "public": public})


_tunnels: list[blocking.Tunnel] = []


def _tunnel() -> blocking.Tunnel:
    return _tunnels[0]


urlpatterns = [path("", home)]

if os.environ.get("DJANGO") == "wsgi":
    app: Any = get_wsgi_application()
    _tunnels.append(blocking.start(CONFIG, wait=False))
else:
    app = with_tunnel(get_asgi_application(), CONFIG)
