"""Decides whether a piece of text is a backend's public URL, and what an address is.

Strangers write part of what a program prints: a visitor's request line, an error page, a DNS
answer. So a URL is parsed, never matched by its beginning, and compared by its host name.

    PUBLIC_URL = UrlRule(hosts=["hello.example"], not_hosts=["www.hello.example"])
    PUBLIC_URL.find("ready: https://a1.hello.example (see https://www.hello.example)")
    # "https://a1.hello.example"
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
SCHEMES = ("https", "http", "wss", "ws", "tls", "tcp")
LONGEST_URL = 2048  # characters

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_HEX_NUMBER = re.compile(r"0x[0-9a-f]*")
# Some versions of Python parse `[::1]evil.test` as ::1, others refuse it.
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(:[0-9]+)?")
_NO_AUTHORITY = "the part after the scheme must be host or host:port"
# IANA's registries of special-purpose addresses, without exceptions for protocols of routers. Not
# `is_global`, whose answers differ between releases of Python.
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
# Characters that text puts around a URL.
_BEFORE = "|<>()[]{}\"'`*│┃║‖«»“”"
_AFTER = _BEFORE + ".,;:!?"


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlRule:
    """What a backend's public URL looks like.

    `hosts` are the allowed endings of the host name, at a label border: `"hello.example"` accepts
    `a.hello.example` and not `hello.example` itself. Without `hosts`, every host is allowed.
    `not_hosts` are names below them that belong to the provider, such as its web site. `port` and
    `path` allow a port and a path.
    """

    schemes: Collection[str] = ("https",)
    hosts: Collection[str] = ()
    not_hosts: Collection[str] = ()
    port: bool = False
    path: bool = False

    def accept(self, text: str) -> str:
        """The normalised URL; raises ValueError, with the reason, where the rule does not match."""
        url = normalise(text, schemes=self.schemes)
        parts = urlsplit(url)
        host = parts.hostname or ""
        if self.hosts and not any(host.endswith("." + ending) for ending in self.hosts):
            raise ValueError(f"{host} does not end in .{' or .'.join(self.hosts)}")
        if host in self.not_hosts:
            raise ValueError(f"{host} belongs to the provider itself")
        if parts.port is not None and not self.port:
            raise ValueError("the URL must not contain a port")
        if parts.path and not self.path:
            raise ValueError("the URL must not contain a path")
        return url

    def find(self, line: str) -> str | None:
        """The first URL in the line that this rule accepts, normalised; None without one."""
        for token in line.split():
            if "://" not in token:
                continue
            # Bare first: where a path is allowed, the token would include a full stop.
            for candidate in (bare(token), token):
                try:
                    return self.accept(candidate)
                except ValueError:
                    continue
        return None


def bare(token: str) -> str:
    """The token without the brackets, quotes and punctuation around it.

    >>> bare("(https://a1.hello.example).")
    'https://a1.hello.example'
    """
    whole = token.lstrip(_BEFORE)
    text = whole.rstrip(_AFTER)
    if text.rfind("[") > text.rfind("]") and whole.startswith("]", len(text)):
        text += "]"  # the end of an IPv6 address
    return text


ANY_URL = UrlRule(schemes=SCHEMES, port=True, path=True)


def normalise(text: str, *, schemes: Collection[str] = SCHEMES) -> str:
    """The URL as `scheme://host[:port][/path]`, in lower case, without default port or lone slash.

    Raises ValueError, with the reason, for another scheme, user information, a query, an invalid
    host name or port, white space, a backslash, and characters beyond ASCII.

        >>> normalise("HTTPS://A1.Hello.Example:443/")
        'https://a1.hello.example'
    """
    if len(text) > LONGEST_URL:
        raise ValueError(f"the URL must not have more than {LONGEST_URL} characters")
    if not text.isascii() or not text.isprintable() or any(c in text for c in ' \\"<>^`{|}'):
        raise ValueError("the URL contains characters that must be percent-encoded")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(_NO_AUTHORITY) from None
    if parts.scheme not in schemes:
        raise ValueError(f"the scheme is not {' or '.join(schemes)}")
    if "@" in parts.netloc:
        raise ValueError("the URL must not contain user information (user@host)")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("the URL must not contain a query or a fragment")
    if not _AUTHORITY.fullmatch(parts.netloc):
        raise ValueError(_NO_AUTHORITY)
    host = _host(parts.hostname or "", bracketed=parts.netloc.startswith("["))
    port = parts.port  # raises ValueError beyond 65535
    if port == 0:
        raise ValueError("the port must not be zero")
    if parts.scheme == "tcp" and port is None:
        raise ValueError("a tcp URL must contain a port")
    shown = "" if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f":{port}"
    return f"{parts.scheme}://{host}{shown}{parts.path.rstrip('/')}"


def _host(host: str, *, bracketed: bool) -> str:
    if bracketed:
        if "%" in host:
            raise ValueError("the address must not contain a zone (%), which is local to a machine")
        address = unmapped(IPv6Address(host))
        return str(address) if address.version == 4 else f"[{address}]"
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the host name is not valid")
    # Browsers and resolvers also read numbers as addresses: 0x7f000001 is 127.0.0.1.
    if labels[-1].isdigit() or _HEX_NUMBER.fullmatch(labels[-1]):
        return str(IPv4Address(host))
    return host


def is_loopback(host: str) -> bool:
    """Whether the host, a name or an address, is certainly this machine.

    So is the unspecified address: a connection to 0.0.0.0 goes to the loopback interface.

        >>> is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("127.0.0.1.example.com")
        (True, True, False)
    """
    host = host.lower().removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = ip(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def is_public(host: str) -> bool:
    """Whether the host, a name or an address, may be reachable from the internet."""
    address = ip(host)
    if address is None:
        return not is_loopback(host)
    return not any(address in network for network in _SPECIAL)


def ip(host: str) -> IPv4Address | IPv6Address | None:
    """The address that the text spells, with or without brackets.

    None for a name, for an address with a zone, and for an abbreviation such as 127.1.
    """
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = IPv6Address(host[1:-1]) if bracketed else ip_address(host)
    except ValueError:
        return None
    return None if "%" in host else unmapped(address)


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address in place of an IPv6 address that is mapped to it (`::ffff:127.0.0.1`).

    Versions of Python differ in how they classify and print mapped addresses.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def leads_here(url: str, port: int) -> bool:
    """Whether the URL is that port of this machine, and so not a public URL at all."""
    parts = urlsplit(url)
    found = parts.port or DEFAULT_PORTS.get(parts.scheme)
    return found == port and is_loopback(parts.hostname or "")


def join(public_url: str, path: str) -> str:
    """The URL of a path behind the public URL, with exactly one slash between them.

    >>> join("https://a1.hello.example/", "/webhooks")
    'https://a1.hello.example/webhooks'
    """
    return f"{public_url.rstrip('/')}/{path.lstrip('/')}"
