"""Every recording of the real program, unedited, and what we make of it."""

from __future__ import annotations

import pytest
from prx_tunnel_tailscale import capability
from prx_tunnel_tailscale.consent import consent_link
from prx_tunnel_tailscale.node import parse_node
from prx_tunnel_tailscale.program import VERSION_PREFIX, document
from prx_tunnel_tailscale.reasons import GONE, find_problem
from prx_tunnel_tailscale.serveconfig import ServeConfig, parse_serve_config
from tailscale_standin import RECORDINGS, Run, names, recorded

from prx_tunnel_core.programs import CommandOutput, Version

EXPECTED = {
    "00-version": ["ended well"],
    "00-version-json": ["version 1.96.0"],
    "01-daemon-not-running-funnel": ["daemon-down"],
    "01-daemon-not-running-funnel-status": ["daemon-down"],
    "01-daemon-not-running-socketflag": ["daemon-down"],
    "01-daemon-not-running-status": ["daemon-down"],
    "02-needslogin-funnel": ["logged-out"],
    "02-needslogin-funnel-bg": ["logged-out"],
    "02-needslogin-funnel-off": ["logged-out"],
    "02-needslogin-funnel-reset": ["no-netmap"],
    "02-needslogin-funnel-status-json": ["nothing served"],
    "02-needslogin-status": ["logged-out"],
    "02-needslogin-status-json": ["NeedsLogin - lacks https"],
    "03-needslogin-with-authurl-funnel": ["logged-out"],
    "03-needslogin-with-authurl-status": ["logged-out"],
    "03-needslogin-with-authurl-status-json": ["NeedsLogin - lacks https"],
    "03-up-interactive-5s": ["unexplained"],
    "04-nocaps-featurequery-404-funnel": ["https-off"],
    "04-nocaps-featurequery-404-funnel-bg": ["https-off"],
    "05-funnel-attr-only-nohttps": ["https-off"],
    "05-https-only-funnel": ["funnel-off"],
    "05-no-ports-cap": ["port-not-allowed"],
    "06-feature-query-enabled-meanwhile": [
        "consent https://login.tailscale.com/f/funnel?node=nTESTCNTRL"
    ],
    "06-feature-query-nowait": ["consent https://login.tailscale.com/f/funnel?node=nTESTCNTRL"],
    "06-feature-query-nowait-status": ["nothing served"],
    "06-feature-query-wait": ["consent https://login.tailscale.com/f/funnel?node=nTESTCNTRL"],
    "06-feature-query-wait-bg-yes": [
        "consent https://login.tailscale.com/f/funnel?node=nTESTCNTRL"
    ],
    "07-on-funnel-status": ["ended well"],
    "07-on-funnel-status-json": ["443 / -> :3000, funnel 443"],
    "07-on-serve-status-json": ["443 / -> :3000, funnel 443"],
    "07-on-status": ["ended well"],
    "07-on-status-json": ["Running box.tail1234.ts.net lacks nothing"],
    "10-empty-funnel-status": ["ended well"],
    "10-empty-funnel-status-json": ["nothing served"],
    "11-foreground-SIGHUP": ["unexplained", "nothing served"],
    "11-foreground-SIGINT": ["ended well", "nothing served"],
    "11-foreground-SIGKILL": ["unexplained", "nothing served"],
    "11-foreground-SIGTERM": ["unexplained", "nothing served"],
    "12-foreground-running-status": ["ended well"],
    "12-foreground-running-status-json": [
        "443 / -> :3000 in the foreground, session 69a6d162770d8063"
    ],
    "12-foreground-running-tsstatus": ["ended well"],
    "13-conflict-bg-over-fg": ["port-taken"],
    "13-conflict-fg-fg-same-port": ["port-taken"],
    "13-conflict-fg-other-port": ["ended well"],
    "13-off-while-fg": ["gone"],
    "13-reset-while-fg": ["ended well"],
    "14-conflict-bg-over-bg": ["ended well", "443 / -> :3001, funnel 443"],
    "14-conflict-bg-path": ["ended well", "443 / -> :3001, 443 /foo -> :3002, funnel 443"],
    "14-conflict-fg-over-bg": ["port-taken"],
    "14-conflict-tcp": ["port-taken"],
    "15-off-many-no-yes": ["ended well", "nothing served"],
    "15-off-many-yes": ["gone", "nothing served"],
    "15-off-nothing": ["gone", "gone"],
    "15-off-path": ["ended well", "443 / -> :3001, funnel 443"],
    "15-off-with-target": ["too-old"],
    "17-http-flag": ["too-old"],
    "17-legacy": ["too-old"],
    "17-no-args": ["ended well"],
    "17-port-not-allowed": ["ended well", "8444 / -> :3000, funnel 8444"],
    "17-port-not-allowed-fg": ["ended well"],
    "17-port-too-high": ["unexplained"],
    "17-target-bad": [
        "unexplained",
        "target-refused",
        "ended well",
        "ended well",
        "443 / -> http://localhost:3000/base, funnel 443",
    ],
    "17-tcp": [
        "ended well",
        "ended well",
        "10000 tcp 127.0.0.1:5000, funnel 10000",
        "ended well",
        "funnel 10000",
    ],
    "17-two-types": ["unexplained"],
    "18-permission-nonroot": [
        "no-permission",
        "no-permission",
        "funnel 10000",
        "Running box.tail1234.ts.net lacks nothing",
        "no-permission",
        "no-permission",
    ],
    "18-permission-operator": ["ended well", "ended well"],
    "18-permission-set-operator": ["ended well"],
    "20-localapi-serveconfig": ["8443 /x -> :3000, funnel 8443"],
    "20-localapi-serveconfig-empty": ["nothing served"],
    "20-localapi-status": ["Running box.tail1234.ts.net lacks nothing"],
    "21-localapi-host-localhost": ["nothing"],
    "21-localapi-post-bad-json": ["daemon-lost"],
    "21-localapi-post-good-etag": ["443 / -> :4000, funnel 443"],
    "21-localapi-post-wrong-etag": ["edit-race"],
    "21-localapi-query-feature": ["nothing"],
    "21-localapi-unknown": ["nothing"],
    "21-localapi-wrong-host": ["nothing"],
    "22-localapi-watch-foreground": [
        "443 / -> :4000, 8443 / -> :4001 in the foreground, session 7d4be170c3ceed44, funnel 443"
    ],
    "23-watch-ipn-bus-mask22": ["stopped"],
    "30-down-while-bg-funnel": [
        "ended well",
        "443 / -> :4000, funnel 443",
        "stopped",
        "Stopped box.tail1234.ts.net lacks nothing",
        "stopped",
        "stopped",
        "ended well",
        "ended well",
        "nothing served",
    ],
    "31-down-while-fg-funnel": [
        "ended well",
        "443 / -> :3000 in the foreground, session 43502bca0da9bb43",
        "443 / -> :3000 in the foreground, session 43502bca0da9bb43",
    ],
    "40-daemon-kill9-with-fg-and-bg": ["daemon-down", "8443 / -> :3001, funnel 8443"],
    "41-daemon-sigterm-with-fg": ["8443 / -> :3001, funnel 8443"],
    "42-expire": ["8443 / -> :3001, funnel 8443", "logged-out", "logged-out"],
    "43-derp-stopped": ["nothing"],
    "44-control-killed": ["8443 / -> :3001, funnel 8443", "ended well", "ended well"],
    "60-version-daemon": ["version 1.96.0", "ended well"],
    "60-version-mismatch": [
        "ended well",
        "ended well",
        "443 / -> :3000, 8443 / -> :3001, funnel 443, funnel 8443",
        "version 1.102.3",
    ],
    "61-rootless": [
        "ended well",
        "ended well",
        "ended well",
        "ended well",
        "no-permission",
        "ended well",
    ],
    "62-rootless-mem-state": ["ended well", "ended well", "ended well"],
    "63-second-daemon-same-socket": ["nothing"],
    "64-nonroot-default-tun": ["nothing"],
    "70-up-bad-authkey": ["unexplained", "logged-out"],
    "70-up-good-authkey": ["ended well"],
    "71-shields-up": ["ended well", "shields-up", "shields-up", "ended well"],
    "71-shields-up-later": ["ended well", "unexplained", "443 /pub -> :3000, funnel 443"],
    "72-off-only-path": ["ended well", "nothing served"],
    "73-caps-revoked-while-on": [
        "ended well",
        "443 / -> :3000, funnel 443",
        "ended well",
        "funnel-off",
        "443 / -> :3000, funnel 443",
    ],
    "74-logout": ["ended well", "logged-out", "nothing served"],
    "75-needs-machine-auth": [
        "unexplained",
        "needs-approval",
        "needs-approval",
        "NeedsMachineAuth box.tail1234.ts.net lacks https",
    ],
    "80-serve-off-after-revocation": ["ended well", "nothing served"],
    "81-stale-allowfunnel": [
        "funnel 10000",
        "ended well",
        "ended well",
        "ended well",
        "nothing served",
    ],
    "82-race-12-clis": [
        # Nine of twelve: three lost the race, and have to be run again.
        (
            "443 /r1 -> :4001, 443 /r10 -> :4010, 443 /r11 -> :4011, 443 /r2 -> :4002, "
            "443 /r3 -> :4003, 443 /r4 -> :4004, 443 /r6 -> :4006, 443 /r7 -> :4007, "
            "443 /r8 -> :4008, funnel 443"
        )
    ],
    "83-off-keeps-other-ports": ["ended well", "8443 / -> :9000"],
    "84-pipe-latency": ["nothing"],
    "85-set-raw": ["nothing"],
    "86-misc": ["ended well", "ended well", "ended well"],
    "87-cert-no-internet": ["unexplained"],
}


def verdict(run: Run) -> str:
    """What we make of one command's output."""
    arguments = [word for word in run.arguments if not word.startswith("--socket=")]
    if run.code == 0 and "--json" in arguments:
        return read(arguments, document(CommandOutput(0, tuple(run.lines))))
    links = [found for line in run.lines if (found := consent_link(line))]
    if links:
        return f"consent {links[0]}"
    problem = find_problem(run.lines)
    if problem is not None:
        return problem[0].name
    if any(GONE in line for line in run.lines):
        return "gone"
    return "ended well" if run.code == 0 else "unexplained"


def read(arguments: list[str], text: str) -> str:
    if arguments[0] == "version":
        return f"version {Version.parse(text.partition(VERSION_PREFIX)[2])}"
    if arguments[0] == "status":
        return node_in(text)
    return served_in(parse_serve_config(text))


def node_in(document: str) -> str:
    node = parse_node(document)
    missing = capability.missing(node.capabilities, public=True) or "nothing"
    return f"{node.state} {node.dns_name or '-'} lacks {missing}"


def served_in(served: ServeConfig) -> str:
    ports = sorted({int(port) for port in (served.tcp or {})} | {443, 8443, 10000})
    shown = [f"{port} {what}" for port in ports for what in served.handlers(port)]
    public = [f"funnel {each.rpartition(':')[2]}" for each in served.allow_funnel or {}]
    return ", ".join([*shown, *public]).replace("http://127.0.0.1:", ":") or "nothing served"


def whole(name: str) -> str:
    """A recording of another kind: a log, a summary, an answer of tailscaled's own API."""
    text = (RECORDINGS / f"{name}.txt").read_text()
    problem = find_problem(text.replace("\\n", "\n").splitlines())
    if problem is not None:
        return problem[0].name
    _, found, body = text.partition("\n\n{")
    if not found:
        return "nothing"
    document = "{" + body.partition("\n---")[0]
    if "BackendState" in document:
        return node_in(document)
    return served_in(parse_serve_config(document))


def test_the_table_names_every_recording() -> None:
    assert sorted(EXPECTED) == names()


@pytest.mark.parametrize("name", names())
def test_each_recording_is_understood(name: str) -> None:
    runs = recorded(name)
    assert ([verdict(run) for run in runs] or [whole(name)]) == EXPECTED[name]
