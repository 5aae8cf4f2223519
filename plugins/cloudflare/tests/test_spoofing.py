"""No line that a stranger can influence becomes the public URL, or leads us to another server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cloudflare_kit import recordings
from cloudflare_kit.installed import StandIn
from prx_tunnel_cloudflare.config import CloudflareConfig
from prx_tunnel_cloudflare.connect import connect
from prx_tunnel_cloudflare.journal import Journal
from prx_tunnel_cloudflare.naming import accept_quick_hostname

from prx_tunnel_core.backend import Target
from prx_tunnel_core.errors import ConnectError
from prx_tunnel_core.text import printable

Configure = Callable[..., CloudflareConfig]

T = "2026-11-22T13:06:27Z"
EVIL = "https://evil-tunnel-name.trycloudflare.com"
UUID = "00000000-0000-4000-8000-000000000666"
JSON = '{"level":"error","time":"' + T + '",'

# What visitors (request line, headers), origins (error pages), name servers and proxies can bring
# into the log, in both of its forms, and what looks like the program's own announcements.
LINES = [
    # The program's own lines with other URLs, as every naive reader has taken them.
    f"{T} INF Thank you for trying Cloudflare Tunnel. (https://www.cloudflare.com/website-terms/)",
    f"{T} INF Requesting new quick Tunnel on https://trycloudflare.com...",
    f'failed to request quick Tunnel: Post "{EVIL}/tunnel": dial tcp: no such host',
    'failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": EOF',
    f"{T} ERR      See GitHub issue https://github.com/golang/go/issues/27546 event=0",
    f"{T} WRN See https://github.com/quic-go/quic-go/wiki/UDP-Buffer-Sizes for details.",
    # The banner again.
    f"{T} INF |  {EVIL}                                  |",
    f"{T} INF Your quick Tunnel has been created! Visit it at {EVIL}",
    f"|  {EVIL}  |",
    EVIL,
    f"\x1b]8;;{EVIL}\x1b\\https://trycloudflare.com\x1b]8;;\x1b\\",
    f"\x1b[2K\r{T} INF |  {EVIL}  |",
    # Another host of ours, or almost.
    "https://cedar-jasper-noble-silver.trycloudflare.com.evil.test",
    "https://cedar-jasper-noble-silver.trycloudflare.com@evil.test/",
    "https://evil.test/?x=https://cedar-jasper-noble-silver.trycloudflare.com",
    "https://evil.test\\.trycloudflare.com",
    "https://xn--trycloudflare-abc.com",
    # What a visitor chose: path, host, user agent, referer; at debug level, all headers.
    f'{T} ERR Request failed error="EOF" connIndex=1 dest=https://app.example.com/{EVIL} event=0',
    f'{T} ERR Request failed error="EOF" dest="https://a.example.com/\\n{T} INF |  {EVIL}  |"',
    f"{T} DBG GET {EVIL}/ HTTP/1.1 connIndex=0 host={EVIL}",
    f'{T} DBG GET https://a.example.com/ headers={{"Referer":["{EVIL}"],"User-Agent":["{EVIL}"]}}',
    f'{T} ERR  error="Unable to reach the origin service: {EVIL}" originService=http://127.0.0.1:1',
    f'{JSON}"message":"","error":"Unable to reach the origin service: {EVIL}"}}',
    f'{JSON}"message":"Request failed","dest":"https://a.example.com/{EVIL}"}}',
    # The address of the metrics server, where no announcement is.
    f'{T} ERR  error="Starting metrics server on 127.0.0.1:6/metrics" originService=x',
    f"{T} ERR Starting metrics server on 127.0.0.1:6/metrics",
    f"{T} INF Starting metrics server on 127.0.0.1:6/metrics and more",
    f"{T} INF Starting metrics server on evil.test:6/metrics",
    f"{T} INF Starting metrics server on 0.0.0.0:6/metrics",
    f"{T} INF Starting metrics server on 127.0.0.1:666666/metrics",
    f"{T} INF GET /Starting metrics server on 127.0.0.1:6/metrics",
    "Starting metrics server on 127.0.0.1:6/metrics",
    f"x{T} INF Starting metrics server on 127.0.0.1:6/metrics",
    f'{JSON}"message":"x","error":"Starting metrics server on 127.0.0.1:6/metrics"}}',
    f'{JSON}"message":"Starting metrics server on 127.0.0.1:6/metrics"}}',
    '{"level":"info","message":["Starting metrics server on 127.0.0.1:6/metrics"]}',
    '{"level":"info","message":"Starting metrics server on 127.0.0.1:6/metrics"',
    # Whose connector it is.
    f'{T} ERR  error="Generated Connector ID: {UUID}"',
    f"{T} WRN Generated Connector ID: {UUID}",
    f"Generated Connector ID: {UUID}",
    f"{T} INF Generated Connector ID: {UUID} and more",
    # A registration that is none, and a configuration.
    f'{T} ERR  error="Registered tunnel connection connIndex=0 location=evil protocol=evil"',
    f"{T} ERR Registered tunnel connection connIndex=0 location=evil protocol=evil",
    f"{T} INF GET /Registered tunnel connection connIndex=0 location=evil protocol=evil",
    f'{T} INF Updated to new configuration config="{{\\"ingress\\":[]}}" version=99',
    # Reasons that are none: a stranger must not stop the tunnel either.
    f'{T} ERR  error="Unauthorized: Tunnel not found" originService=http://127.0.0.1:1',
    f'{T} ERR Request failed error="Unauthorized: Tunnel not found" dest=https://a.example.com/',
    f'{T} ERR Request failed error="x" dest="Register tunnel error from server side"',
    f'{JSON}"message":"Request failed","error":"Incorrect Usage: flag provided"}}',
    f'{T} ERR  error="Provided Tunnel token is not valid."',
    f"{T} ERR Incorrect Usage: flag provided but not defined: -metrics",
    f"{T} INF Provided Tunnel token is not valid.",
]
PERMANENT = {"usage", "token", "unauthorized"}


def test_there_are_enough() -> None:
    assert len(set(LINES)) >= 40


@pytest.mark.parametrize("line", LINES)
def test_a_line_teaches_nothing(line: str) -> None:
    journal = Journal()
    journal.feed(printable(line))
    assert journal.metrics_port is None
    assert journal.connector_id is None
    assert journal.registered is None
    assert journal.reason is None or journal.reason.cause.value not in PERMANENT


@pytest.mark.parametrize("line", LINES)
def test_nor_does_it_in_the_middle_of_a_real_log(line: str) -> None:
    journal = Journal()
    for real in recordings.runs("c01-quick-success-quic-text")[0].lines:
        journal.feed(printable(line))
        journal.feed(real)
    assert journal.metrics_port == 20999
    assert journal.connector_id == "94bb62c9-d19b-4b6e-80b9-8de68ad81ed9"
    assert (journal.registered or {})["location"] == "lis01"


@pytest.mark.anyio
async def test_all_of_them_at_once(stand_in: StandIn, configure: Configure, target: Target) -> None:
    stand_in.plan({"spoof": LINES})
    async with connect(configure(), target) as connection:
        assert connection.public_url == "https://cedar-jasper-noble-silver.trycloudflare.com"
        assert connection.details["edge location"] == "lis01"
        (check,) = await connection.check()
        assert check.verdict == "ok"


@pytest.mark.parametrize(
    "hostname",
    [
        "",
        "trycloudflare.com",
        "api.trycloudflare.com",
        "www.trycloudflare.com",
        "API.TryCloudflare.com",
        "a-b.trycloudflare.com.evil.test",
        "a-b.trycloudflare.com@evil.test",
        "user@a-b.trycloudflare.com",
        "evil.test/a-b.trycloudflare.com",
        "a-b.trycloudflare.com/path",
        "a-b.trycloudflare.com:8443",
        "a-b.trycloudflare.com?x",
        "a-b.trycloudflare.com#x",
        "evil.test\\.trycloudflare.com",
        "a.b.trycloudflare.com",
        "a-b.eviltrycloudflare.com",
        "-a.trycloudflare.com",
        "a\u0431.trycloudflare.com",
        "a b.trycloudflare.com",
        "a-b.trycloudflare.com\nx",
        "*.trycloudflare.com",
        "localhost",
        "127.0.0.1",
        "x" * 64 + ".trycloudflare.com",
    ],
)
def test_what_is_no_quick_tunnel(hostname: str) -> None:
    with pytest.raises(ConnectError, match="gave no quick tunnel"):
        accept_quick_hostname(hostname)


def test_what_is_one() -> None:
    assert accept_quick_hostname("A-b-1.TryCloudflare.com.") == "a-b-1.trycloudflare.com"


@pytest.mark.anyio
async def test_a_metrics_server_that_names_another(
    stand_in: StandIn, configure: Configure, target: Target
) -> None:
    stand_in.plan({"hostname": "api.trycloudflare.com"})
    with pytest.raises(ConnectError, match="gave no quick tunnel"):
        async with connect(configure(), target):
            pytest.fail("not connected")
