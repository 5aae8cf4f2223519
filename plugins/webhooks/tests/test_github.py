"""Hooks of repositories and organisations: found by path, updated, else created."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from webhook_kit.github import TOKEN, GitHubServer
from webhook_kit.server import Fault, says
from webhook_kit.tunnel import observed, shows

pytestmark = pytest.mark.anyio

REPO = "repos/example/agent"
SECRET = "github-secret-canary"


@pytest.fixture
def github() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        server.hooks = {REPO: {}, "orgs/example": {}}
        yield server


def repo(server: GitHubServer, **table: Any) -> dict[str, Any]:
    own = {"kind": "github", "path": "/webhooks/github", "repository": "example/agent"}
    own |= {"token": TOKEN, "secret": SECRET, "api_url": server.url}
    return {"repo": {**own, **table}}


async def test_it_is_created_once_and_updated_from_then_on(github: GitHubServer) -> None:
    table = repo(github, events=["push", "issues"])
    for name in ("a", "b"):  # two runs of the program
        async with observed(table) as (tunnel, state):
            for number in (1, 2):
                tunnel.connect(f"https://{name}{number}.example.com")
                await shows(state, "repo", f"registered https://{name}{number}.example.com")
    hook = github.hook(REPO)
    assert hook["events"] == ["push", "issues"]
    assert hook["active"] is True
    assert hook["config"] == {
        "url": "https://b2.example.com/webhooks/github",
        "content_type": "json",
        "secret": SECRET,
        "insecure_ssl": "0",
    }
    assert [asked.method for asked in github.asked].count("POST") == 1


async def test_an_organisation_has_hooks_of_its_own(github: GitHubServer) -> None:
    table = {**repo(github)["repo"], "kind": "github-organisation", "organisation": "example"}
    del table["repository"]
    async with observed({"org": table}) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "org", "registered")
    assert github.hook("orgs/example")["config"]["url"] == "https://a.example.com/webhooks/github"
    assert github.hooks[REPO] == {}


async def test_hooks_of_other_paths_are_left_alone_on_whatever_page_ours_is(
    github: GitHubServer,
) -> None:
    for number in range(230):
        github.add(REPO, f"https://ci.example.com/{number}")
    ours = github.add(REPO, "https://old.example.com/webhooks/github", secret="old")
    others = {k: dict(v) for k, v in github.hooks[REPO].items() if k != ours}
    async with observed(repo(github)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "repo", "registered")
    assert github.hooks[REPO][ours]["config"]["url"] == "https://a.example.com/webhooks/github"
    assert {k: v for k, v in github.hooks[REPO].items() if k != ours} == others
    assert [asked.query["page"] for asked in github.asked[:-1]] == ["1", "2", "3"]


async def test_which_of_several_is_ours_is_not_guessed(github: GitHubServer) -> None:
    old = github.add(REPO, "https://old.example.com/webhooks/github")
    github.add(REPO, "https://production.example.com/webhooks/github")
    async with observed(repo(github)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        told = await shows(state, "repo", "several webhooks have the path /webhooks/github")
        assert "(old.example.com, production.example.com)" in told
        del github.hooks[REPO][old]
        await shows(state, "repo", "registered")


async def test_the_exact_url_is_ours_beside_others_of_its_path(github: GitHubServer) -> None:
    other = github.add(REPO, "https://production.example.com/webhooks/github")
    ours = github.add(REPO, "https://a.example.com/webhooks/github")
    async with observed(repo(github)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "repo", "registered")
    assert github.hooks[REPO][ours]["config"]["secret"] == SECRET
    assert "secret" not in github.hooks[REPO][other]["config"]


async def test_only_the_one_with_our_url_is_removed(github: GitHubServer) -> None:
    other = github.add(REPO, "https://ci.example.com/build")
    async with observed(repo(github, remove_on_stop=True)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "repo", "registered")
        assert len(github.hooks[REPO]) == 2
    assert list(github.hooks[REPO]) == [other]


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"token": "wrong-token"}, "401 Unauthorized: Bad credentials; the token needs to be valid"),
    ({"repository": "example/other"}, "404 Not Found: Not Found; the token needs to be"),
    ({"events": ["pushh"]}, 'Validation Failed; These events are not supported by this hook: "pu'),
]


@pytest.mark.parametrize(("table", "reason"), REFUSALS)
async def test_what_github_refuses_is_told(
    github: GitHubServer, table: dict[str, Any], reason: str
) -> None:
    async with observed(repo(github, **table)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "repo", reason)


GARBAGE = [
    says(200, {"message": "no list"}),
    says(200, [{"id": "x"}]),
    says(200, [3]),
    says(500, []),
]


@pytest.mark.parametrize("fault", GARBAGE)
async def test_answers_without_sense_are_refused_and_it_recovers(
    github: GitHubServer, fault: Fault
) -> None:
    github.fault = fault
    async with observed(repo(github)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "repo", "failed: 127.0.0.1 answered")
        github.fault = None
        await shows(state, "repo", "registered")


async def test_hooks_of_strange_shapes_are_nobody_s(github: GitHubServer) -> None:
    listed = [{"id": 1}, {"id": 2, "config": None}, {"id": 3, "config": {"url": "http://["}}]
    github.faults.append(says(200, listed))
    async with observed(repo(github)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        await shows(state, "repo", "registered")


async def test_the_rate_limit_s_own_headers_are_honoured(github: GitHubServer) -> None:
    reset = str(int(time.time()) + 900)
    limits = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": reset}
    github.fault = says(403, {"message": "API rate limit exceeded"}, **limits)
    async with observed(repo(github)) as (tunnel, state):
        tunnel.connect("https://a.example.com")
        told = await shows(state, "repo", "API rate limit exceeded")
        seconds = int(told.rpartition("next try in ")[2].removesuffix(" s"))
        assert 890 <= seconds <= 900


async def test_a_list_without_end_is_left(github: GitHubServer) -> None:
    github.fault = says(200, [], link='<https://evil.example.com/>; rel="next"')
    async with observed(repo(github, backoff_base_ms=60_000, backoff_max_ms=60_000)) as seen:
        tunnel, state = seen
        tunnel.connect("https://a.example.com")
        await shows(state, "repo", "more than 20 pages of webhooks")
    assert len(github.asked) == 20
