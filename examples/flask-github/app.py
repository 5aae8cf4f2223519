"""A Flask application that hears of pushes to a GitHub repository."""

from __future__ import annotations

import logging
import os
import signal
import sys

from flask import Flask, Response, request
from prx_tunnel_webhooks import verify
from werkzeug.serving import make_server

from prx_tunnel_core import TunnelError, blocking, load

logger = logging.getLogger("agent")
app = Flask(__name__)
github = verify.RouteGuard(verify.github, os.environ["GITHUB_WEBHOOK_SECRET"])


@app.post("/webhooks/github")  # as in config.toml
@github.flask  # the view sees what GitHub signed, each delivery once
def pushed() -> Response:
    event = request.get_json()
    logger.info("%s: %s", request.headers["X-GitHub-Event"], event.get("ref"))
    return Response(status=204)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = load()  # $PRX_CONFIG
    # It listens from here on, so that the first webhook finds somebody.
    server = make_server("127.0.0.1", config.tunnel.local_port, app, threaded=True)
    with blocking.tunnel(config.tunnel, tables=config.tables) as tunnel:
        try:
            logger.info("reachable at %s", tunnel.start().public_url)
        except TunnelError as error:
            logger.warning("only on this machine: %s", error)
        server.serve_forever()


if __name__ == "__main__":
    main()
