"""GitHub's API for webhooks: https://docs.github.com/rest/repos/webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import uuid
from typing import Any

from webhook_kit.server import Asked, ProviderServer, Told, post

TOKEN = "github_pat_11FAKE0000000000000000_canary"
_HOOKS = re.compile(r"/(?P<owner>(repos/[^/]+|orgs)/[^/]+)/hooks(/(?P<id>[0-9]+))?")
_EVENTS = {"push", "pull_request", "issues", "issue_comment", "star", "ping", "release", "*"}


class GitHubServer(ProviderServer):
    def __init__(self) -> None:
        super().__init__()
        self.hooks: dict[str, dict[int, dict[str, Any]]] = {}
        """Of each owner (`repos/o/r`, `orgs/o`), the hooks by id, with their secrets."""
        self._ids = 1000

    def hook(self, owner: str) -> dict[str, Any]:
        """The only one."""
        (hook,) = self.hooks[owner].values()
        return hook

    def add(self, owner: str, url: str, **config: str) -> int:
        self._ids += 1
        config = {"url": url, "content_type": "form", "insecure_ssl": "0", **config}
        self.hooks.setdefault(owner, {})[self._ids] = {
            "type": "Repository" if owner.startswith("repos") else "Organization",
            "id": self._ids,
            "name": "web",
            "active": True,
            "events": ["push"],
            "config": config,
        }
        return self._ids

    def answer(self, asked: Asked) -> Told:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return _refused(401, "Bad credentials")
        if not asked.headers.get("user-agent"):
            return _refused(403, "Request forbidden by administrative rules")
        place = _HOOKS.fullmatch(asked.path)
        if place is None or place["owner"] not in self.hooks:
            return _refused(404, "Not Found")
        hooks = self.hooks[place["owner"]]
        if place["id"] is None:
            return self._list(asked, hooks) if asked.method == "GET" else self._create(asked, place)
        if int(place["id"]) not in hooks:
            return _refused(404, "Not Found")
        if asked.method == "DELETE":
            del hooks[int(place["id"])]
            return Told(204)
        return self._update(asked, hooks[int(place["id"])])

    def _list(self, asked: Asked, hooks: dict[int, dict[str, Any]]) -> Told:
        size, page = int(asked.query.get("per_page", 30)), int(asked.query.get("page", 1))
        size = min(size, 100)
        listed = list(hooks.values())[(page - 1) * size : page * size]
        headers = {}
        if page * size < len(hooks):
            link = f"{self.url}{asked.path}?per_page={size}&page="
            headers["link"] = f'<{link}{page + 1}>; rel="next", <{link}9>; rel="last"'
        return Told(200, [_shown(hook) for hook in listed], headers)

    def _create(self, asked: Asked, place: re.Match[str]) -> Told:
        told = asked.json()
        problem = _problem(told)
        for hook in self.hooks[place["owner"]].values():
            if hook["config"]["url"] == told["config"].get("url"):
                problem = "Hook already exists on this repository"
        if problem:
            return _refused(422, "Validation Failed", problem)
        number = self.add(place["owner"], told["config"]["url"])
        hook = self.hooks[place["owner"]][number]
        hook.update({key: told[key] for key in ("active", "events", "config") if key in told})
        return Told(201, _shown(hook))

    def _update(self, asked: Asked, hook: dict[str, Any]) -> Told:
        told = asked.json()
        problem = _problem(told)
        if problem:
            return _refused(422, "Validation Failed", problem)
        # The configuration is replaced: a secret that is not repeated is gone.
        hook.update({key: told[key] for key in ("active", "events", "config") if key in told})
        return Told(200, _shown(hook))

    def deliver(self, owner: str, event: object, *, secret: str | None = None) -> tuple[int, bytes]:
        """Send an event to the only hook, signed with its secret."""
        config = self.hook(owner)["config"]
        body = json.dumps(event, ensure_ascii=False).encode()
        key = config.get("secret", "") if secret is None else secret
        signature = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-GitHub-Hook-ID": str(self.hook(owner)["id"]),
            "X-Hub-Signature-256": f"sha256={signature}",
        }
        return post(config["url"], body, headers)


def _shown(hook: dict[str, Any]) -> dict[str, Any]:
    config = dict(hook["config"])
    if "secret" in config:
        config["secret"] = "********"
    return {**hook, "config": config}


def _problem(told: dict[str, Any]) -> str:
    unknown = set(told.get("events", [])) - _EVENTS
    if unknown:
        return f'These events are not supported by this hook: "{min(unknown)}"'
    if not re.match(r"https?://", told.get("config", {}).get("url", "")):
        return "url is missing a scheme"
    return ""


def _refused(status: int, message: str, *errors: str) -> Told:
    listed = [{"resource": "Hook", "code": "custom", "message": error} for error in errors]
    told = {"message": message, "documentation_url": "https://docs.github.com/rest"}
    return Told(status, {**told, "errors": listed} if errors else told)
