"""Lines of `authorized_keys`, read as OpenSSH reads them: in order, each for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import asyncssh
from asyncssh.pattern import HostPatternList

from prx_tunnel_ssh.relay.algorithms import weakness

_LONGEST_LINE = 16 * 1024
# Options that restrict or allow what the relay never grants.
_WITHOUT_EFFECT = frozenset({
    "agent-forwarding", "no-agent-forwarding", "x11-forwarding", "no-x11-forwarding", "pty",
    "no-pty", "user-rc", "no-user-rc", "no-touch-required",
})  # fmt: skip
_WITHOUT_EFFECT_WITH_VALUE = frozenset({"command", "environment", "permitopen"})


@dataclass
class Entry:
    """One line: a key, and what its options say."""

    key: asyncssh.SSHKey
    forwarding: bool = True
    sources: list[HostPatternList] = field(default_factory=list)

    def allows(self, address: str) -> bool:
        """Whether the key may come from this address."""
        if not self.sources:
            return True
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return all(pattern.matches(address, address, parsed) for pattern in self.sources)


@dataclass(frozen=True)
class BadLine:
    number: int
    reason: str


def parse(data: bytes) -> Iterator[Entry | BadLine]:
    """Every line that is a key, and every one that is meant to be and cannot be used."""
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        line = raw.strip(b" \t\r")
        if not line or line.startswith(b"#"):
            continue
        try:
            yield _entry(line)
        except ValueError as error:  # asyncssh.KeyImportError is one
            yield BadLine(number, str(error))


def _entry(raw: bytes) -> Entry:
    if len(raw) > _LONGEST_LINE:
        raise ValueError(f"the line is longer than {_LONGEST_LINE} bytes")
    try:
        line = raw.decode()
    except UnicodeDecodeError:
        raise ValueError("the line is not UTF-8") from None
    options: list[tuple[str, str | None]] = []
    key = _key(line)
    if key is None:
        options, rest = _split_options(line)
        key = _key(rest)
    if key is None:
        raise ValueError("there is no public key of a known kind in it")
    if (why := weakness(key)) is not None:
        raise ValueError(why)
    entry = Entry(key)
    for name, value in options:
        _apply(entry, name, value)
    return entry


def _key(text: str) -> asyncssh.SSHKey | None:
    try:
        return asyncssh.import_public_key(text)
    except (asyncssh.KeyImportError, ValueError):
        return None


def _apply(entry: Entry, name: str, value: str | None) -> None:
    """Options hold in the order in which they stand; the last one wins.

    Raises ValueError for an option that is not understood: it would restrict the key in a way that
    is ignored.
    """
    if name == "from":
        entry.sources.append(_sources(value))
    elif name in {"restrict", "no-port-forwarding"} and value is None:
        entry.forwarding = False
    elif name == "port-forwarding" and value is None:
        entry.forwarding = True
    elif name in _WITHOUT_EFFECT_WITH_VALUE:
        if value is None:
            raise ValueError(f'the option {name} needs a value: {name}="…"')
    elif name not in _WITHOUT_EFFECT or value is not None:
        raise ValueError(f"this relay does not know the option {name}")


def _sources(value: str | None) -> HostPatternList:
    if not value:
        raise ValueError('the option from needs a value: from="192.0.2.0/24"')
    for pattern in value.split(","):
        if "/" in pattern:
            ip_network(pattern.strip().removeprefix("!"))  # raises ValueError, and says why
    return HostPatternList(value)


def _split_options(line: str) -> tuple[list[tuple[str, str | None]], str]:
    """The options in front of a key, and what follows them."""
    options: list[tuple[str, str | None]] = []
    at = 0
    while True:
        start = at
        while at < len(line) and (line[at].isalnum() or line[at] in "-_@."):
            at += 1
        name, value = line[start:at].lower(), None
        if not name:
            raise ValueError("there is no option where one is expected")
        if line.startswith('="', at):
            value, at = _quoted(line, at + 2)
        options.append((name, value))
        if at >= len(line) or line[at] in " \t":
            return options, line[at:].strip()
        if line[at] != ",":
            raise ValueError(f"after the option {name} a comma or a space is expected")
        at += 1


def _quoted(line: str, at: int) -> tuple[str, int]:
    r"""A value up to its closing quote, and where it ends; `\"` stands for a quote in it."""
    value = []
    while at < len(line):
        if line.startswith('\\"', at):
            value.append('"')
            at += 2
        elif line[at] == '"':
            return "".join(value), at + 1
        else:
            value.append(line[at])
            at += 1
    raise ValueError("a quote is not closed")
