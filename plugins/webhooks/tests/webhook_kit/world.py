"""Every provider at once, an agent, and the configuration that joins them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from webhook_kit import endpoints, github, slack, telegram
from webhook_kit.agent import GITHUB_SECRET, TELEGRAM_SECRET, Agent

REPO, ORG = "repos/example/agent", "orgs/example"
SECRETS = (TELEGRAM_SECRET, GITHUB_SECRET, telegram.TOKEN, github.TOKEN, slack.TOKEN, endpoints.KEY)


class World:
    """Every provider, and the tables of a configuration that has a webhook at each."""

    def __init__(self, stack: ExitStack) -> None:
        self.telegram = stack.enter_context(telegram.TelegramServer())
        self.github = stack.enter_context(github.GitHubServer())
        self.slack = stack.enter_context(slack.SlackServer())
        self.own = stack.enter_context(endpoints.EndpointServer())
        self.agent = stack.enter_context(Agent())
        self.github.hooks = {REPO: {}, ORG: {}}
        self.slack.asks_the_url = True

    @property
    def tables(self) -> dict[str, Any]:
        at_github = {"token": github.TOKEN, "secret": GITHUB_SECRET, "api_url": self.github.url}
        hooks: dict[str, dict[str, Any]] = {
            "bot": {
                "kind": "telegram",
                "path": "/telegram",
                "token": telegram.TOKEN,
                "secret": TELEGRAM_SECRET,
                "api_url": self.telegram.url,
            },
            "repo": {
                "kind": "github",
                "path": "/github",
                "repository": "example/agent",
                **at_github,
            },
            "org": {
                "kind": "github-organisation",
                "path": "/github/org",
                "organisation": "example",
                **at_github,
            },
            "app": {
                "kind": "slack",
                "path": "/slack",
                "app_id": slack.APP,
                "token": slack.TOKEN,
                "timeout": 1.0,
                "api_url": self.slack.url,
            },
            "own": {
                "kind": "http",
                "path": "/own",
                "method": "PUT",
                "url": f"{self.own.url}/endpoints/agent",
                "headers": {"Authorization": "Bearer {key}"},
                "body": {"url": "{url}"},
                "secrets": {"key": endpoints.KEY},
            },
        }
        fast = {"backoff_base_ms": 50, "backoff_max_ms": 200, "timeout": 2.0}
        return {"webhooks": {name: {**fast, **hook} for name, hook in hooks.items()}}

    def registered(self) -> list[str]:
        """What each provider has now."""
        hooks = [
            hook["config"]["url"] for o in (REPO, ORG) for hook in self.github.hooks[o].values()
        ]
        own = [self.own.endpoints.get("agent", "")]
        return [self.telegram.webhook.get("url", ""), *hooks, self.slack.request_url, *own]

    def deliver(self) -> None:
        """Each provider sends a signed webhook to where it was told, and a stranger one as well."""
        before = len(self.agent.arrived)
        strangers = [
            self.telegram.deliver("hello", secret="wrong-secret"),
            self.github.deliver(REPO, {"ref": "x"}, secret="wrong-secret"),
        ]
        assert [status for status, _ in strangers] == [401, 401]
        sent = [
            self.telegram.deliver("Grüße"),
            self.github.deliver(REPO, {"ref": "refs/heads/ü"}),
            self.github.deliver(ORG, {"ref": "refs/heads/org"}),
            self.slack.deliver({"type": "event_callback", "event_id": f"Ev{before}"}),
            self.own.deliver("agent", {"type": "invoice.paid"}),
        ]
        assert [status for status, _ in sent] == [200] * 5
        paths = [path for path, _ in self.agent.arrived[before:]]
        assert paths == ["/telegram", "/github", "/github/org", "/slack", "/own"]
