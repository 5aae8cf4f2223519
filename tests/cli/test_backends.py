"""`prx tunnel backends`."""

from __future__ import annotations

import json

from support.command import Prx


def test_backends(prx: Prx) -> None:
    broken = prx.home / "site" / "prx_tunnel_broken-2.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: prx-tunnel-broken\nVersion: 2.0\n"
    )
    (broken / "entry_points.txt").write_text("[prx_tunnel]\nbroken = no_such_module\n")
    listed = {each["name"]: each for each in json.loads(prx("tunnel", "backends", "--json").stdout)}
    assert listed["lab"]["summary"] == "what a test says"
    assert (listed["lab"]["distribution"], listed["lab"]["version"]) == ("prx-tunnel-lab", "1.0")
    assert listed["lab"]["problem"] == ""
    assert "no_such_module" in listed["broken"]["problem"]
    done = prx("tunnel", "backends")
    assert done.returncode == 0
    assert "lab: what a test says\n  from prx-tunnel-lab 1.0\n" in done.stdout
    assert "  cannot be used: prx-tunnel-broken 2.0" in done.stdout
