"""The one place that decides whether a piece of text is a backend's public URL.

What a program prints is partly written by strangers: a visitor's request line, an error page, a
DNS answer. So a URL is parsed, never matched by its beginning, and compared by host name.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
SCHEMES = ("https", "http", "wss", "ws", "tls", "tcp")

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_HEX_NUMBER = re.compile(r"0x[0-9a-f]*")
# `urlsplit` takes `[::1]evil.test` for ::1 in some versions of Python, and refuses it in others.
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(:[0-9]+)?")
_NO_AUTHORITY = "what follows the scheme is not host or host:port"
# IANA's registries of special-purpose addresses, without exceptions for protocols of routers.
# Ours, for `is_global` gives other answers in other releases of Python.
_SPECIAL = [
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        # Outside of 2000::/3, no IPv6 address is handed out for use on the internet.
        "::/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1",
    )
]  # fmt: skip
# What text puts around a URL.
_BEFORE = "|<>()[]{}\"'`*│┃║‖«»“”"
_AFTER = _BEFORE + ".,;:!?"


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlRule:
    """What a backend's public URL looks like.

    `hosts` are allowed endings of the host name, on a label border (`"trycloudflare.com"` takes
    `a.trycloudflare.com`, not `trycloudflare.com` itself); empty allows every host.
    """

    schemes: Collection[str] = ("https",)
    hosts: Collection[str] = ()
    not_hosts: Collection[str] = ()
    port: bool = False
    path: bool = False

    def accept(self, text: str) -> str:
        """The normalised URL; ValueError says why it is none of this backend's."""
        url = normalise(text, schemes=self.schemes)
        parts = urlsplit(url)
        host = parts.hostname or ""
        if self.hosts and not any(host.endswith("." + ending) for ending in self.hosts):
            raise ValueError(f"{host} does not end in .{' or .'.join(self.hosts)}")
        if host in self.not_hosts:
            raise ValueError(f"{host} is the provider's own")
        if parts.port is not None and not self.port:
            raise ValueError("a port is not expected")
        if parts.path and not self.path:
            raise ValueError("a path is not expected")
        return url

    def find(self, line: str) -> str | None:
        """The first token of the line that this rule accepts."""
        for token in line.split():
            if "://" not in token:
                continue
            # Bare first: where a path is allowed, it would take the full stop along.
            for candidate in (bare(token), token):
                try:
                    return self.accept(candidate)
                except ValueError:
                    continue
        return None


def bare(token: str) -> str:
    """The token without the brackets, quotes and punctuation that text puts around it."""
    whole = token.lstrip(_BEFORE)
    text = whole.rstrip(_AFTER)
    if text.rfind("[") > text.rfind("]") and whole.startswith("]", len(text)):
        text += "]"  # the end of an IPv6 address
    return text


ANY_URL = UrlRule(schemes=SCHEMES, port=True, path=True)


def normalise(text: str, *, schemes: Collection[str] = SCHEMES) -> str:
    """`scheme://host[:port][/path]`, lower case, without a default port or a lone slash.

    Raises ValueError, with the reason, for anything else: another scheme, user information, a
    query, a bad host name or port, white space, backslashes, characters beyond ASCII.
    """
    if len(text) > 2048:
        raise ValueError("longer than any URL")
    if not text.isascii() or not text.isprintable() or any(c in text for c in ' \\"<>^`{|}'):
        raise ValueError("has characters that no URL has")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(_NO_AUTHORITY) from None
    if parts.scheme not in schemes:
        raise ValueError(f"the scheme is not {' or '.join(schemes)}")
    if "@" in parts.netloc:
        raise ValueError("user information in a URL is a known disguise")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("a query or fragment is not part of a public URL")
    if not _AUTHORITY.fullmatch(parts.netloc):
        raise ValueError(_NO_AUTHORITY)
    host = _host(parts.hostname or "", bracketed=parts.netloc.startswith("["))
    port = parts.port  # raises ValueError beyond 65535
    if port == 0:
        raise ValueError("the port is zero")
    if parts.scheme == "tcp" and port is None:
        raise ValueError("a tcp URL needs a port")
    shown = "" if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{port}"
    return f"{parts.scheme}://{host}{shown}{parts.path.rstrip('/')}"


def _host(host: str, *, bracketed: bool) -> str:
    if bracketed:
        if "%" in host:
            raise ValueError("an address with a zone means something on one machine only")
        address = unmapped(IPv6Address(host))
        return str(address) if address.version == 4 else f"[{address}]"
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the host name is not valid")
    # Browsers and resolvers read these as addresses too: 0x7f000001 is 127.0.0.1.
    if labels[-1].isdigit() or _HEX_NUMBER.fullmatch(labels[-1]):
        return str(IPv4Address(host))
    return host


def is_loopback(host: str) -> bool:
    """Whether the host, a name or an address, is this machine for certain.

    The unspecified address is: who connects to 0.0.0.0 reaches the loopback interface.
    """
    host = host.lower().removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = ip(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def is_public(host: str) -> bool:
    """Whether the host, a name or an address, may be one of the internet."""
    address = ip(host)
    if address is None:
        return not is_loopback(host)
    return not any(address in network for network in _SPECIAL)


def ip(host: str) -> IPv4Address | IPv6Address | None:
    """The address that the text is, with or without brackets; None for anything else.

    Anything else is a name, an address with a zone, and an abbreviation such as 127.1.
    """
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = IPv6Address(host[1:-1]) if bracketed else ip_address(host)
    except ValueError:
        return None
    return None if "%" in host else unmapped(address)


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address in place of an IPv6 one that only stands for it (`::ffff:127.0.0.1`).

    Of the latter, versions of Python disagree on what it is and how it is written.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def leads_here(url: str, port: int) -> bool:
    """Whether the URL is that port of this machine itself, under whatever name: no public URL."""
    parts = urlsplit(url)
    found = parts.port or DEFAULT_PORTS.get(parts.scheme)
    return found == port and is_loopback(parts.hostname or "")


def join(public_url: str, path: str) -> str:
    """The public URL of a path on the tunnel, with exactly one slash between."""
    return f"{public_url.rstrip('/')}/{path.lstrip('/')}"
