"""Spellings of a path, as request targets: what some server, framework or proxy reads as another.

`{}` is the path of the guarded route.
"""

from __future__ import annotations

from hypothesis import strategies as st

SPELLINGS = (
    "{}", "{}/", "{}//", "/{}", "//{}", "///{}", "{}%0a", "{}%0A", "{}%0d%0a", "{}%0d", "{}%00",
    "{}%09", "{}%20", "{}+", "{}%7f", "{}%c2%85", "{}%e2%80%a8", "{}%e2%80%a9", "{}%0a%0a", "%0a{}",
    "/%0a{}", "{}/%0a", "{};", "{};a=1", "{}%3b", "{}/;", "/;{}", "{}%3f", "{}%3fx", "{}?x", "{}?",
    "{}#x", "{}%23", "{}%23x", "{}.", "{}..", "{}%2e", "{}/.", "{}/%2e", "{}/./", "/.{}", "/%2e{}",
    "{}/..", "{}/../github", "{}/%2e%2e/github", "{}/..%2fgithub", "/x/..{}", "/x/%2e%2e{}",
    "/x/%2E%2E{}", "/x/..;{}", "/x/.. {}", "/x/..%20{}", "/..{}", "/x%2f..{}", "/x%5c..{}",
    "{}%2f", "{}%2F", "%2f{}", "/%2f{}", "{}%5c", "\\{}", "/\\{}", "/%5c{}", "%5c{}",
    "{}%252f", "{}%250a", "{}%2500", "/%252e%252e{}", "{}%", "{}%zz", "{}%2", "{}%c0%af", "{}%ff",
    "/%c0%ae%c0%ae{}", "/%e0%80%af{}", "{}%ef%bc%8f", "/%ef%bc%8f{}", "/%e2%81%84{}", "{}%ef%bb%bf",
    "{}%e2%80%8b", "{}%c2%ad", "{}%c2%a0", "{}%e3%80%80", "{}*", "*", "*{}", "{}:443", "@{}",
    "http://localhost{}", "http:/{}", "http:{}", "HTTP://LOCALHOST{}", "//localhost{}", "x:{}",
    "/open/..{}", "/open/%2e%2e{}", "/open/.{}", "/open/{}", "/open{}", "/open/%0a{}", "/open/;{}",
    "/open/%5c..{}", "/open/..%5c{}", "/open/..%2f{}", "/open/http://localhost{}", "/open?{}",
    "/open/#{}", "/api{}", "/api/{}", "/open/api{}", "/x/api{}", "/xapi{}", "/api/api{}", "/API{}",
)  # fmt: skip

# What else two readers may differ in, within the path.
WITHIN = (
    "/webhooks%2fgithub", "/webhooks%2Fgithub", "/webhooks//github", "/webhooks/./github",
    "/webhooks/%2e/github", "/webhooks/x/../github", "/webhooks/x/%2e%2e/github",
    "/webhooks%5cgithub", "/webhooks\\github", "/webhooks/%0agithub", "/webhooks%0a/github",
    "/webhooks/%20github", "/webhooks;a/github", "/webhooks/;/github", "/WEBHOOKS/GITHUB",
    "/Webhooks/Github", "/%77ebhooks/%67ithub", "/webhooks/g%c4%b1thub", "/webhooks/g%c4%b0thub",
    "/webhoo%e2%84%aas/github", "/webhook%c5%bf/github", "/webhooks/%ef%bd%87ithub",
    "/webhooks/git%e2%80%8bhub", "/webhooks/git%cc%87hub", "/webhooks/%f0%9d%97%80ithub",
    "/webhooks%ef%bc%8fgithub", "/webhooks%ef%bc%bcgithub", "/webhooks/git%68ub",
    "/webhooks/%2567ithub", "/webhooksgithub", "webhooks/github", "/apiwebhooks/github",
)  # fmt: skip

_PIECES = (
    "/", "//", "/./", "/../", ".", "..", ";", ";a=1", "?", "#", "\\", "%", "*", "+", " ", ":", "@",
    "webhooks", "github", "api", "open", "/api", "/open/", "http://h", "x",
    "%2f", "%2F", "%5c", "%2e", "%2e%2e", "%3b", "%3f", "%23", "%20", "%00", "%09", "%0a", "%0d%0a",
    "%25", "%252f", "%7f", "%85", "%c2%85", "%c2%a0", "%c0%af", "%ff", "%zz", "%e2%80%a8",
    "%e2%80%8b", "%ef%bc%8f", "%ef%bc%8e", "%ef%bd%87", "%c4%b0", "%c4%b1", "%c5%bf", "%e2%84%aa",
)  # fmt: skip


@st.composite
def targets(draw: st.DrawFn) -> str:
    """The path of the route after a few changes, each at any place."""
    target = draw(
        st.sampled_from(["/webhooks/github", "/api/webhooks/github", "/open/../webhooks/github"])
    )
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(target)))
        change = draw(st.sampled_from(["insert", "replace", "encode", "case", "remove"]))
        sign, rest = target[at : at + 1], target[at + 1 :]
        if change == "insert":
            rest = sign + rest
            sign = draw(st.sampled_from(_PIECES))
        elif change == "replace":
            sign = draw(st.sampled_from(_PIECES))
        elif change == "encode":
            sign = "".join(f"%{byte:02x}" for byte in sign.encode())
        elif change == "case":
            sign = sign.swapcase()
        else:
            sign = ""
        target = target[:at] + sign + rest
    return target
