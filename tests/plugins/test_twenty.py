"""Twenty plugins, five of them broken: a host starts as with one, and each message says what to do.

What one broken plugin does, of every kind, is in tests/faults/test_plugin_loading.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.distributions import HEADER, Site

WORKS = (
    HEADER
    + """
import anyio
from prx_tunnel_core import Connection

class Memory(Connection):
    public_url = "https://{name}.example"
    async def wait_closed(self):
        await anyio.sleep_forever()

@asynccontextmanager
async def connect(config, target):
    yield Memory()

@hookimpl
def prx_tunnel_backends():
    yield Backend(name="{name}", summary="works", config=BackendConfig, connect=connect)
"""
)
BROKEN = {
    "dependent": ("import a_library_of_tomorrow", "No module named 'a_library_of_tomorrow'"),
    "outdated": ("raise SystemExit('needs Python 4')", "SystemExit: needs Python 4"),
    "early": ("from prx_tunnel_core import Tomorrow", "cannot import name 'Tomorrow'"),
    "typo": (HEADER + "\n@hookimpl\ndef prx_tunnel_backend(): ...", "unknown hook"),
    "mistaken": (WORKS.replace('"{name}"', '"Mistaken"'), "Backend name 'Mistaken': use a-z"),
}
GOOD = [f"good{number:02}" for number in range(15)]

HOST = """
import sys, anyio
from prx_tunnel_core import Tunnel

async def main():
    config = {"backend": "good03", "health_check_url": False}
    async with Tunnel(config, tables={"agent": {}}) as tunnel:
        print((await tunnel.start()).public_url)
        await tunnel.stop()

anyio.run(main)
print(*sorted(sys.modules))
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = Site(tmp_path_factory.mktemp("one"))
    site.plugin("good03", WORKS.format(name="good03"))
    return site.folder


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = Site(tmp_path_factory.mktemp("twenty"))
    for name in GOOD:
        site.plugin(name, WORKS.format(name=name))
    for name, (source, _) in BROKEN.items():
        site.plugin(name, source, version="0.3")
    return site.folder


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that finds these plugins, beside those of the project."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PY")}
    config = site / "config.toml"
    config.touch()
    environ |= {"PYTHONPATH": str(site), "PRX_CONFIG": str(config), "HOME": str(site)}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def prx(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(
        site,
        "-c",
        "import sys; from prx_tunnel_core._cli import main; sys.exit(main())",
        *arguments,
    )


def imported(site: Path) -> set[str]:
    done = python(site, "-c", HOST)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    url, modules = done.stdout.splitlines()
    assert url == "https://good03.example"
    return set(modules.split())


def test_a_host_with_twenty_plugins_imports_what_one_with_a_single_plugin_does(
    one: Path, twenty: Path
) -> None:
    with_twenty = imported(twenty)
    assert {name for name in with_twenty if name.startswith("site_")} == {"site_good03"}
    assert with_twenty == imported(one)


def test_all_twenty_are_listed_and_each_broken_one_with_its_reason(twenty: Path) -> None:
    done = prx(twenty, "tunnel", "backends", "--json")
    assert done.returncode == 0, done.stderr
    listing = {each["name"]: each for each in json.loads(done.stdout)}
    assert {*GOOD, *BROKEN} <= set(listing)
    assert not [name for name in GOOD if listing[name]["problem"]]
    for name, (_, reason) in BROKEN.items():
        entry = listing[name]
        assert (entry["distribution"], entry["version"]) == (f"prx-tunnel-{name}", "0.3")
        assert reason in entry["problem"]


def test_the_list_for_people_says_the_same(twenty: Path) -> None:
    done = prx(twenty, "tunnel", "backends")
    for name, (_, reason) in BROKEN.items():
        lines = done.stdout[done.stdout.index(f"\n{name}\n") :].splitlines()[1:4]
        assert lines[1] == f"  from prx-tunnel-{name} 0.3"
        assert lines[2].startswith("  cannot be used: ")
        assert reason in lines[2]


FIXES = {
    "dependent": "reinstall or update prx-tunnel-dependent",
    "outdated": "reinstall or update prx-tunnel-outdated",
    "early": "reinstall or update prx-tunnel-early",
    "typo": "there are: prx_tunnel_backends",
    "mistaken": "use a-z, 0-9 and '-'",
}


@pytest.mark.parametrize("name", BROKEN)
def test_who_selects_a_broken_one_is_told_whose_it_is_and_what_to_do(
    name: str, twenty: Path
) -> None:
    done = prx(twenty, "tunnel", "start", "--backend", name)
    assert done.returncode == 1
    assert f"prx-tunnel-{name} 0.3: " in done.stderr
    assert BROKEN[name][1] in done.stderr
    assert FIXES[name] in done.stderr
    assert "Traceback" not in done.stderr
