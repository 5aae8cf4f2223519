"""Webhooks of a GitHub repository or organisation: https://docs.github.com/rest/webhooks.

A hook has no name. Ours is the one whose URL has our path; the host is what changes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from typing_extensions import override

from prx_tunnel_webhooks.api import Answer, Api, Refusal
from prx_tunnel_webhooks.hook import ApiUrl, Provider, RemovableHook

PER_PAGE = 100
MOST_PAGES = 20

_Name = r"[A-Za-z0-9._-]+"


class AnyGitHubHook(RemovableHook):
    token: SecretStr
    secret: SecretStr
    """The key of the signature in `X-Hub-Signature-256`."""
    events: Annotated[list[str], Field(min_length=1, default_factory=lambda: ["push"])]
    content_type: Literal["json", "form"] = "json"
    api_url: ApiUrl = "https://api.github.com"
    """`https://<host>/api/v3` for GitHub Enterprise Server."""

    @property
    @abstractmethod
    def owner(self) -> str:
        """The part of the API's address that names the owner of the hooks."""

    @override
    def provider(self, api: Api) -> Provider:
        return GitHub(self, api)


class GitHubHook(AnyGitHubHook):
    kind: Literal["github"]
    repository: Annotated[str, Field(pattern=rf"^{_Name}/{_Name}$")]
    """`owner/name`."""

    @property
    @override
    def owner(self) -> str:
        return f"repos/{self.repository}"


class GitHubOrganisationHook(AnyGitHubHook):
    kind: Literal["github-organisation"]
    organisation: Annotated[str, Field(pattern=rf"^{_Name}$")]

    @property
    @override
    def owner(self) -> str:
        return f"orgs/{self.organisation}"


class GitHub(Provider):
    def __init__(self, hook: AnyGitHubHook, api: Api) -> None:
        self._hook = hook
        self._api = api
        self._hooks = f"{hook.api_url}/{hook.owner}/hooks"

    @override
    async def register(self, url: str) -> None:
        found = _ours(await self._list(), url)
        # The whole of it: GitHub would remove a secret that an update does not repeat.
        wanted = {"active": True, "events": self._hook.events, "config": self._config(url)}
        if found is None:
            answer = await self._ask("POST", self._hooks, {"name": "web", **wanted})
        else:
            answer = await self._ask("PATCH", f"{self._hooks}/{found['id']}", wanted)
        if not answer.ok:
            raise _refusal(answer)

    @override
    async def remove(self, url: str) -> None:
        for hook in await self._list():
            if _url(hook) == url:
                answer = await self._ask("DELETE", f"{self._hooks}/{hook['id']}")
                if not answer.ok and answer.status != 404:
                    raise _refusal(answer)

    def _config(self, url: str) -> dict[str, str]:
        return {
            "url": url,
            "content_type": self._hook.content_type,
            "secret": self._hook.secret.get_secret_value(),
            "insecure_ssl": "0",
        }

    async def _list(self) -> list[dict[str, Any]]:
        hooks: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            answer = await self._ask("GET", f"{self._hooks}?per_page={PER_PAGE}&page={page}")
            if not answer.ok:
                raise _refusal(answer)
            listed = answer.json()
            if not isinstance(listed, list) or not all(map(_is_hook, listed)):
                raise answer.refusal("which is no list of webhooks")
            hooks += listed
            # Counted rather than followed: a link could lead the token to another host.
            if 'rel="next"' not in answer.headers.get("link", ""):
                return hooks
        raise Refusal(f"more than {MOST_PAGES} pages of webhooks: remove those without a use")

    async def _ask(self, method: str, url: str, value: object = None) -> Answer:
        headers = {
            "Authorization": f"Bearer {self._hook.token.get_secret_value()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        if value is None:
            return await self._api.ask(method, url, headers=headers)
        return await self._api.ask_json(method, url, value, headers=headers)


def _is_hook(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("id"), int)


def _url(hook: Mapping[str, Any]) -> str:
    config = hook.get("config")
    return str(config.get("url", "")) if isinstance(config, dict) else ""


def _ours(hooks: list[dict[str, Any]], url: str) -> dict[str, Any] | None:
    """The hook to update: that of this URL, else the only one of its path."""
    same = [hook for hook in hooks if _url(hook) == url]
    alike = [hook for hook in hooks if _path(_url(hook)) == _path(url)]
    if not same and len(alike) > 1:
        hosts = ", ".join(sorted(_host(_url(hook)) for hook in alike))
        raise Refusal(
            f"several webhooks have the path {_path(url)} ({hosts}), and which is ours is not "
            "known: remove the stale ones, or give this one a separate path"
        )
    return next(iter(same or alike), None)


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _host(url: str) -> str:
    return urlsplit(url).hostname or "?"


def _refusal(answer: Answer) -> Refusal:
    told = answer.table()
    reasons = [str(told.get("message", "without a reason"))]
    errors = told.get("errors")
    reasons += [
        str(error.get("message", error) if isinstance(error, dict) else error)
        for error in (errors if isinstance(errors, list) else ())
    ]
    if answer.status in (401, 403, 404):
        reasons.append("the token needs to be valid and allowed to write webhooks there")
    return answer.refusal("; ".join(reasons))
