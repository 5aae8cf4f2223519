"""The command line of the relay."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path

from prx_tunnel_ssh.relay.limits import source_of
from prx_tunnel_ssh.relay.settings import Limits, RelaySettings, Site, parse_ports

Address = tuple[str, int]


@dataclass(frozen=True)
class Arguments:
    listen: Address
    authorized_keys: Path
    host_key: Path
    http: Address | None
    certificate: Path | None
    key: Path | None
    settings: RelaySettings


def parse(argv: Sequence[str] | None) -> Arguments:
    """Exit with status 2 and a message when the arguments contradict each other."""
    parser = _parser()
    given = parser.parse_args(argv)
    if (given.domain is None) != (given.http is None):
        parser.error("--domain and --http belong together")
    if given.certificate is not None and given.http is None:
        parser.error("--certificate needs --http")
    if given.url is not None and (given.domain is None or "{name}" not in given.url):
        parser.error("--url needs --domain, and contains {name}")
    site = _site(given)
    try:
        if site is not None:
            site.url_of("name", 1)
    except ValueError as error:
        parser.error(f"--domain and --url make no URL: {error}")
    return Arguments(
        listen=given.listen,
        authorized_keys=given.authorized_keys,
        host_key=given.host_key or given.authorized_keys.with_name("relay_host_key"),
        http=given.http,
        certificate=given.certificate,
        key=given.key,
        settings=RelaySettings(
            bind=given.bind,
            ports=given.ports,
            limits=_limits(given),
            site=site,
            proxies=frozenset(given.proxy),
        ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m prx_tunnel_ssh.relay",
        description="An SSH server that only forwards its ports to clients with an authorized key.",
    )
    add = parser.add_argument
    add("--listen", type=_address, required=True, metavar="HOST:PORT", help="of the SSH server")
    add(
        "--authorized-keys",
        type=Path,
        required=True,
        metavar="FILE",
        help="the keys that may log in",
    )
    add("--host-key", type=Path, metavar="FILE", help="made when it is missing (default: "
        "relay_host_key beside the authorized keys)")  # fmt: skip
    add("--bind", default="127.0.0.1", metavar="HOST", help="of forwarded ports (%(default)s)")
    add("--ports", type=_ports, default="0", metavar="LIST", help="that may be asked for, like "
        "0,8080,20000-30000; 0: one that the relay chooses (%(default)s)")  # fmt: skip
    add("--domain", help="tunnels get NAME.DOMAIN when they ask for port 80 or 443")
    add("--http", type=_address, metavar="HOST:PORT", help="where those are served")
    add("--certificate", type=Path, metavar="FILE", help="PEM, for *.DOMAIN; read again on SIGHUP")
    add("--key", type=Path, metavar="FILE", help="of the certificate, when not in the same file")
    add("--url", metavar="URL", help="that is announced, when a proxy stands in front: "
        "https://{name}.example.com")  # fmt: skip
    add(
        "--proxy",
        action="append",
        default=[],
        type=_proxy,
        metavar="ADDRESS",
        help="of a proxy "
        "in front of the web sites, which stands for many visitors; may be given more than once",
    )
    for limit in fields(Limits):
        add(f"--{limit.name.replace('_', '-')}", type=type(limit.default), default=limit.default,
            metavar="N", help="limit (%(default)s)")  # fmt: skip
    return parser


def _limits(given: argparse.Namespace) -> Limits:
    return Limits(**{limit.name: getattr(given, limit.name) for limit in fields(Limits)})


def _site(given: argparse.Namespace) -> Site | None:
    if given.domain is None:
        return None
    domain = given.domain.lower().strip(".")
    scheme = "http" if given.certificate is None else "https"
    return Site(domain, given.url or f"{scheme}://{{name}}.{domain}:{{port}}")


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _proxy(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address") from None
    return source_of(text)


def _ports(text: str) -> object:
    try:
        return parse_ports(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
