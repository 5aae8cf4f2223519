"""`python -m prx_tunnel_ssh.relay`: the relay on a server of one's own."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from prx_tunnel_core import trust
from prx_tunnel_core.errors import SetupError, TunnelError
from prx_tunnel_core.logs import PrintableFormatter
from prx_tunnel_core.text import printable_lines
from prx_tunnel_ssh.credentials import complete_environment
from prx_tunnel_ssh.relay.arguments import Arguments, parse
from prx_tunnel_ssh.relay.descriptors import fit, raise_descriptor_limit
from prx_tunnel_ssh.relay.keys import AuthorizedKeys, read_host_key
from prx_tunnel_ssh.relay.log import Log
from prx_tunnel_ssh.relay.server import Relay, open_relay
from prx_tunnel_ssh.relay.settings import RelaySettings
from prx_tunnel_ssh.transport import quiet_asyncssh


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        asyncio.run(_until_signalled(arguments, Log()))
    except (TunnelError, OSError) as error:
        print(printable_lines(f"prx-tunnel relay: {error}"), file=sys.stderr)  # noqa: T201
        return 1
    return 0


async def _until_signalled(arguments: Arguments, log: Log) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(arguments, log):
        await stop.wait()
    log("relay down")


@asynccontextmanager
async def serve(arguments: Arguments, log: Log) -> AsyncIterator[Relay]:
    """The relay of these arguments, up.

    Raises SetupError for files that are of no use, ConnectError for addresses that are taken.
    """
    quiet_asyncssh()
    complete_environment()
    host_key = read_host_key(arguments.host_key, log)
    tls = _tls(arguments)
    if tls is not None:
        read = functools.partial(_read_certificate, tls, arguments, log)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, read)
    async with open_relay(
        _settings(arguments.settings, log),
        AuthorizedKeys(arguments.authorized_keys, log),
        host_key=host_key,
        listen=arguments.listen,
        web=arguments.http,
        tls=tls,
        log=log,
    ) as relay:
        log(
            "relay up",
            listen=f"{arguments.listen[0]}:{relay.port}",
            http=relay.web_port or None,
            fingerprint=host_key.get_fingerprint(),
            host_key=" ".join(host_key.export_public_key().decode().split()[:2]),
        )
        yield relay


def _settings(settings: RelaySettings, log: Log) -> RelaySettings:
    """With no more connections than this process has descriptors for."""
    descriptors = raise_descriptor_limit()
    limits = fit(settings.limits, descriptors)
    if limits != settings.limits:
        log(
            "limits lowered",
            reason=f"this process may open {descriptors} files; raise its limit (ulimit -n)",
            connections=limits.connections,
            startups=limits.startups,
            visitors_in_all=limits.visitors_in_all,
        )
    return replace(settings, limits=limits)


def _tls(arguments: Arguments) -> ssl.SSLContext | None:
    if arguments.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        _load_certificate(context, arguments)
    except trust.Untrusted as error:
        raise SetupError(f"certificate: {error}") from None
    except OSError as error:  # ssl.SSLError is one
        raise SetupError(f"certificate: {arguments.certificate}: {error}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_certificate(context: ssl.SSLContext, arguments: Arguments) -> None:
    certificate, key = str(arguments.certificate), arguments.key
    os.close(trust.open_file(certificate, private=key is None))
    if key is not None:
        os.close(trust.open_file(str(key), private=True))
    context.load_cert_chain(certificate, key)


def _read_certificate(context: ssl.SSLContext, arguments: Arguments, log: Log) -> None:
    """Connections from now on are served with what stands in the files now."""
    try:
        _load_certificate(context, arguments)
        log("certificate read", file=arguments.certificate)
    except OSError as error:
        log("certificate unreadable", file=arguments.certificate, reason=error)


if __name__ == "__main__":
    sys.exit(main())
