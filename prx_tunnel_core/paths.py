"""The path of a request, for guards that run before a router.

A guard and the router behind it may read one path differently: Starlette's routes match before a
final line feed, Litestar and Werkzeug merge slashes, mounts and root paths remove a prefix, with or
without a slash after it. So a path that can be read in several ways is refused (`AmbiguousPath`,
answered with 404). Of the readings that remain, a guard asks whether *any* of them is guarded, and
an exception from a guard whether *all* of them are excepted.

    hook = GuardedPath("/webhooks/github")
    try:
        guarded = hook.covers(RequestPath(scope))
    except AmbiguousPath:
        await respond(scope, receive, send, 404)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

__all__ = ["AmbiguousPath", "GuardedPath", "RequestPath", "UnguardedPaths"]

LONGEST_PATH = 8192  # characters

_AMBIGUOUS = re.compile(
    r"""
      [\x00-\x1f\x7f-\x9f\u2028\u2029]      # controls and line ends
    | [\ufffd\ud800-\udfff]                 # bytes that are not UTF-8
    | \\                                    # a slash to some
    | / [/;?\#]                             # an empty segment, which some leave out
    | / \.{1,2} [ ]* (?: [/;?\#] | \Z )     # this folder, or the one above
    | %[0-9A-Fa-f]{2}                       # decoded once already
    """,
    re.VERBOSE,
)
_AMBIGUOUS_RAW = re.compile(rb"%(?: 2[ef] | 5c | (?![0-9a-f]{2}) )", re.VERBOSE | re.IGNORECASE)
# Parameters of a segment, and white space around it.
_DECORATION = re.compile(r"[;?#][^/]*+|(?<!\s)\s++(?=[/;?#]|\Z)|(?<=/)\s++")
# These would be compared literally, and so never match.
_NOT_LITERAL = re.compile(r"[{}<>*?#]")


class AmbiguousPath(ValueError):
    """The path can be read in different ways by different frameworks; the message is the reason."""


class RequestPath:
    """The path of an ASGI scope, in each way in which it can be read.

    Both `path` and `raw_path` count, with and without `root_path`, because servers and mounts
    differ in which of them contain it. Raises AmbiguousPath.
    """

    __slots__ = ("_root", "_whole")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._root: str = (scope.get("root_path") or "").rstrip("/")
        self._whole = {_clear(scope.get("path"))}
        raw = scope.get("raw_path")
        if raw is not None:
            self._whole.add(_clear(_decoded(raw)))

    def possible(self) -> Iterator[str]:
        """Each path, folded, that a router could see after removing a prefix."""
        root = _folded(self._root)
        for path in map(_folded, self._whole):
            yield path
            if root:
                yield root + path
                yield path.replace(root, f"{root}/")  # some routers remove it anywhere

    def certain(self) -> Iterator[str | None]:
        """Each path as every router reads it; None where routers differ."""
        root = self._root
        for path in self._whole:
            if root and f"{path}/".startswith(f"{root}/"):
                yield path[len(root) :] or "/"
            else:
                yield None if root and root in path else path


class GuardedPath:
    """A path that a guard covers, with everything below it. In doubt, a request is covered.

    It is covered behind any prefix as well, because the application may remove one: a mount, a root
    path, a middleware. A prefix need not end at a slash, so `/hook` covers `/webhook` too. Upper
    case, characters that Unicode treats alike, `;parameters` and a final slash make no difference.

    Raises ValueError for a path that no request can have.
    """

    def __init__(self, path: str) -> None:
        _require_plain("path", path)
        segments = [re.escape(each) for each in _folded(path).split("/") if each]
        # Without a slash before it, because mounts of Litestar and Hypercorn read `/apihook` as
        # `/hook` below `/api`.
        self._pattern = re.compile("/*".join(segments) + r"(?:/|\Z)")

    def covers(self, request: RequestPath) -> bool:
        """Whether the guard has to decide about this request."""
        return any(map(self._pattern.search, request.possible()))


class UnguardedPaths:
    """Paths that are exempt from a guard, exactly as written. In doubt, a request is not exempt.

    A path that ends with a slash includes everything below it, except "/", which means itself only.

    Raises ValueError for a path that no request can have.
    """

    def __init__(self, paths: Collection[str]) -> None:
        if isinstance(paths, str | bytes | Mapping):
            raise ValueError(  # noqa: TRY004 - as for what the collection contains
                'unguarded: give a collection of paths, such as ["/webhooks/"]'
            )
        self._exact = frozenset(paths)
        for path in self._exact:
            _require_plain("unguarded", path)
        # Without "/", which means the front page and not everything.
        self._folders = tuple(path for path in self._exact if path.endswith("/") and path != "/")

    def cover(self, request: RequestPath) -> bool:
        """Whether this request needs no guard."""
        return all(
            path is not None and (path in self._exact or path.startswith(self._folders))
            for path in request.certain()
        )


def _require_plain(name: str, path: object) -> None:
    """Refuse a path that could never match, because it would leave open what it should guard."""
    try:
        plain = _clear(path)
    except AmbiguousPath as error:
        raise ValueError(
            f"{name}: {path!r} {error}; write the path as the application's route has it, decoded"
        ) from None
    if _NOT_LITERAL.search(plain):
        raise ValueError(
            f"{name}: {path!r} is not a plain path; give the part before the first parameter"
        )


def _clear(path: object) -> str:
    if not isinstance(path, str) or not path.startswith("/"):
        raise AmbiguousPath("does not begin with a slash")
    if len(path) > LONGEST_PATH:
        raise AmbiguousPath("is longer than any path")
    compatible = path if path.isascii() else unicodedata.normalize("NFKC", path)
    for form in {path, compatible}:
        if _AMBIGUOUS.search(form):
            raise AmbiguousPath("can be read in several ways")
    if path.count("/") != compatible.count("/"):
        raise AmbiguousPath("has characters that look like slashes")
    return path


def _decoded(raw: object) -> str:
    if not isinstance(raw, bytes):
        raise AmbiguousPath("is not made of bytes")
    raw = raw.partition(b"?")[0]  # some servers include the query
    if _AMBIGUOUS_RAW.search(raw):
        raise AmbiguousPath("has an encoded slash or dot, or a broken escape")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise AmbiguousPath("is not UTF-8") from None


def _folded(path: str) -> str:
    """The path without the differences between spellings: case, compatibility, decoration."""
    if not path.isascii():
        path = unicodedata.normalize("NFKD", path)
        path = "".join(sign for sign in path if unicodedata.category(sign) not in ("Cf", "Mn"))
        path = path.upper()  # the only way from the dotless i to the dotted one, for example
    return _DECORATION.sub("", path.casefold())
