"""The name of a Cloudflare Access team: one label of a host name."""

from __future__ import annotations

import re

_TEAM = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DOMAIN = ".cloudflareaccess.com"


def team_name(team: str) -> str:
    """What stands before `.cloudflareaccess.com`, also when the whole address is given.

    Raises ValueError for anything else, which could make another server the source of the keys.
    """
    name = team.removeprefix("https://").removesuffix("/").removesuffix(_DOMAIN)
    if not _TEAM.fullmatch(name):
        raise ValueError(
            f"team: {team!r} is not a team name; use what stands before {_DOMAIN}, in lower case"
        )
    return name
