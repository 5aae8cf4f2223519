"""The path of a request: judged by a guard, or refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prx_tunnel_core.paths import AmbiguousPath, GuardedPath, RequestPath, UnguardedPaths
from support.fuzz import fuzz

texts = st.text("ab/.;%?\\ \n\x85\u2028\uff0f\u0131\ufffd\ud800", max_size=12)


@fuzz
@given(texts, texts, st.sampled_from(["", "/", "/a", "/a/"]))
def test_s01_any_path_is_judged_or_refused(path: str, raw: str, root: str) -> None:
    encoded = f"/{raw}".encode(errors="surrogatepass")
    try:
        request = RequestPath({"path": f"/{path}", "raw_path": encoded, "root_path": root})
    except AmbiguousPath:
        return
    assert GuardedPath("/").covers(request)
    assert "?" in path or GuardedPath(f"/{path}").covers(request)
    assert not UnguardedPaths(["/x/"]).cover(request)
