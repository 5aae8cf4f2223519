"""D: only what the program announces becomes the public URL, whatever else it prints."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
import trio.testing

from prx_tunnel_core import ConfigError, Connected, ConnectError, Reconnecting, Tunnel
from support.faults import FOR_EVER, TOKEN, UP, URL, Cloudflared, Programs, raw, starting
from support.http_server import OK, says, serve
from support.memory import Memory
from support.probing import ask
from support.proc import program, starts
from support.tunnel_scenarios import reached
from support.virtual import in_memory, virtual

pytestmark = pytest.mark.anyio

EVIL = "https://evil.example.com"
QUICK = "https://cedar-jasper-noble-silver.trycloudflare.com"  # as it was recorded


async def url_after(*lines: str) -> str:
    """What becomes the URL when a program prints these lines, and then the real one."""
    printed = [raw(line.encode() + b"\n") for line in lines]
    async with Programs(program(*printed, *UP)).tunnel() as tunnel:
        return (await tunnel.start()).public_url


async def test_d01_links_before_the_url_are_none(tmp_path: Path) -> None:
    lines = [
        "Thank you. (https://www.cloudflare.com/website-terms/) https://example.com",
        "see https://github.com/quic-go/quic-go/wiki/UDP-Buffer-Sizes for details",
        "Requesting new quick Tunnel on https://example.com...",
    ]
    assert await url_after(*lines) == URL
    # The first lines of a real cloudflared hold two links.
    async with Cloudflared(tmp_path).tunnel() as tunnel:
        assert (await tunnel.start()).public_url == QUICK


async def test_d02_the_providers_own_interface_is_none(tmp_path: Path) -> None:
    line = 'ERR failed: Post "https://api.example.com/tunnel": EOF https://api.example.com'
    assert await url_after(line) == URL
    post = 'failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": EOF'
    async with Cloudflared(tmp_path, {"spoof": [post]}).tunnel() as tunnel:
        assert (await tunnel.start()).public_url == QUICK


async def test_d03_what_only_looks_like_it_is_none() -> None:
    lookalikes = [
        "https://agent.example.com.evil.test",
        "https://agent.example.com@evil.test",
        "https://evil.test/?x=https://agent.example.com",
        "https://evil.test/https://agent.example.com",
        "https://evil.test#https://agent.example.com",
        "https://evil.test\\.example.com",
        "https://user@evil.example.com",
        "https://evil.example.com:8443",
        "https://evil.example.com/path",
        "https://evil.example.com?query",
        "https://evilexample.com",
        "javascript:https://evil.example.com",
    ]
    assert await url_after(*lookalikes) == URL


async def test_d04_what_visitors_bring_into_the_log_changes_nothing(tmp_path: Path) -> None:
    visits = [
        f"DBG GET {EVIL}/ HTTP/1.1 host={EVIL} referer={EVIL}",
        f"INF |  {EVIL}  |",
        EVIL,
    ]
    programs = Programs(program(*UP[:1], *(f"eprint:{line}" for line in visits), "hang"))
    async with programs.tunnel() as tunnel:
        await tunnel.start()
        await programs.latest.first_match(starts(EVIL))
        assert tunnel.info is not None
        assert tunnel.info.public_url == URL
    # Before it is connected too: the name is asked for, not read in the log.
    quick = [line.replace("example", "trycloudflare") for line in visits]
    async with Cloudflared(tmp_path, {"spoof": quick}).tunnel() as supervised:
        assert (await supervised.start()).public_url == QUICK


async def test_d05_an_unencrypted_url_is_none() -> None:
    assert await url_after("http://evil.example.com", "tcp://evil.example.com:1") == URL


@pytest.mark.parametrize(
    "line",
    [
        "\x1b[32m%s\x1b[0m",
        "\x1b]8;;https://evil.test\x07%s\x1b]8;;\x07",
        "│  %s  │",
        "(%s),",
        "<%s>.",
        "Visit '%s'!\r",
        "20%%\rdone: %s",
    ],
)
async def test_d06_what_stands_around_it_is_no_part_of_it(line: str) -> None:
    programs = Programs(program(raw((line % URL).encode() + b"\n"), "hang"))
    async with programs.tunnel() as tunnel:
        assert (await tunnel.start()).public_url == URL


@pytest.mark.parametrize(
    "written", ["https://AGENT.Example.COM", "https://agent.example.com.", f"{URL}:443/"]
)
async def test_d07_spellings_of_one_name_are_one_url(written: str) -> None:
    async with Programs(program(f"print:{written}", "hang")).tunnel() as tunnel:
        assert (await tunnel.start()).public_url == URL


async def test_d07_what_is_no_name_is_none() -> None:
    bad = ["-a", "a-", "a..b", "a" * 64, "\u0430gent", "a b", "a%00", "*"]
    assert await url_after(*(f"https://{label}.example.com" for label in bad)) == URL


async def test_d08_of_two_urls_in_a_line_the_first_valid_one_counts() -> None:
    line = f"print:https://evil.test {URL} https://second.example.com"
    async with Programs(program(line, "hang")).tunnel() as tunnel:
        assert (await tunnel.start()).public_url == URL


def custom(pattern: str, *steps: str, **table: object) -> Tunnel:
    settings = {"command": program(*steps, "hang"), "url_pattern": pattern, **table}
    return Tunnel({"backend": "custom", "reconnect": {"enabled": False}, "custom": settings})


@pytest.mark.parametrize(
    "pattern", ["([", r"https?://\S+", r"(https?://\S+)", "(.*)", "", "(?<=x)(y)"]
)
async def test_d09_a_pattern_that_is_wrong_or_takes_anything(pattern: str) -> None:
    async with custom(pattern) as tunnel:
        with pytest.raises(ConfigError, match=r"tunnel\.custom"):
            await tunnel.start()


async def test_d09_no_line_stalls_a_pattern() -> None:
    evil = ("longline:0.06", raw(b"!\n"))  # of the letter x
    pattern = r"(https://agent\.example\.com|(?:x+)+)$"
    async with custom(pattern, *evil * 20, f"print:{URL}") as tunnel:
        with anyio.fail_after(5):
            assert (await tunnel.start()).public_url == URL


async def test_d10_bore_prints_no_scheme() -> None:
    line = "print:2026 INFO bore_cli::client: listening at bore.pub:12345"
    async with custom("bore.pub", line) as tunnel:
        assert (await tunnel.start()).public_url == "http://bore.pub:12345"


async def test_d11_a_named_tunnel_prints_no_url(tmp_path: Path) -> None:
    cloudflared = Cloudflared(tmp_path, {"without": "version="})
    async with cloudflared.tunnel(token=TOKEN, hostname="agent.example.com") as tunnel:
        assert (await tunnel.start()).public_url == URL


async def test_d12_another_name_than_the_configured_one_is_told(tmp_path: Path) -> None:
    cloudflared = Cloudflared(tmp_path, {"without": "version=8"})
    async with cloudflared.tunnel(token=TOKEN, hostname="agent.example.com") as tunnel:
        info = await tunnel.start()
        assert info.public_url == URL
        assert "no route for agent.example.com" in info.details["warning"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "127.1.2.3"])
async def test_d13_the_target_itself_is_not_its_public_url(host: str) -> None:
    memory = Memory(names=[f"http://{host}:3000"])
    async with in_memory_now(memory) as tunnel:
        with pytest.raises(ConnectError, match="gave the local address"):
            await tunnel.start()


async def test_d13_another_local_address_is_said_to_be_none_for_the_public() -> None:
    async with serve(says(OK)) as server:
        check = await ask(server.url)
    assert check.detail.endswith("127.0.0.1 is not a public address")


def in_memory_now(memory: Memory) -> Tunnel:
    config = {"backend": "memory", "reconnect": {"enabled": False}}
    return Tunnel(config, backend=memory.backend())


@virtual
async def test_d14_a_late_word_of_an_earlier_connection_is_not_heard() -> None:
    memory = Memory(names=["https://a.example.com", "https://b.example.com"])
    async with in_memory(memory) as tunnel:
        await tunnel.start()
        earlier = memory.connection
        urls = tunnel.urls()
        assert await anext(urls) == "https://a.example.com"
        earlier.drop()
        assert await anext(urls) == "https://b.example.com"
        earlier.public_url = "https://late.example.com"
        earlier.drop("late")
        await trio.testing.wait_all_tasks_blocked()
        assert tunnel.info is not None
        assert tunnel.info.public_url == "https://b.example.com"


async def test_d15_another_process_at_the_port_of_the_api_is_not_believed(tmp_path: Path) -> None:
    other = '{"status":200,"readyConnections":4,"connectorId":"another"}'
    cloudflared = Cloudflared(tmp_path, {"answers": {"/ready": other}}, {})
    tunnel = cloudflared.tunnel(connect_timeout=1.0, reconnect=FOR_EVER)
    async with starting(tunnel) as statuses:
        lost = await reached(statuses, Reconnecting)
        assert "no connection to Cloudflare" in lost.reason
        await reached(statuses, Connected)
    assert cloudflared.program.runs[0].env["TUNNEL_METRICS"] == "127.0.0.1:0", "any free port"
