"""Build every distribution, look into it, install it as documented, and use it.

`--out DIRECTORY` keeps what was built and checked: that is what a release publishes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEMBERS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
PLUGINS = MEMBERS[1:]
# The most that the README's demo may install, our own two distributions included.
MOST_PACKAGES = 35


def run(*command: str | Path, home: Path | None = None, cwd: Path | None = None) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PRX_")}
    if home is not None:
        environ = {"PATH": os.defpath, "HOME": str(home)}
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environ,
        text=True,
        capture_output=True,
        check=False,
    )
    if result.returncode:
        raise SystemExit(f"{command}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def pyproject(member: Path) -> dict[str, dict[str, object]]:
    return tomllib.loads((member / "pyproject.toml").read_text(encoding="utf-8"))


def name_of(member: Path) -> str:
    return str(pyproject(member)["project"]["name"])


def build(member: Path, out: Path) -> Path:
    """Build and check the source and, from it, the wheel; return the wheel."""
    run("uv", "build", "--quiet", "--out-dir", out, member)
    package = name_of(member).replace("-", "_")
    (wheel,) = out.glob(f"{package}-*.whl")
    (sdist,) = out.glob(f"{package}-*.tar.gz")
    check_wheel(wheel, package)
    check_sdist(sdist, package)
    print(f"{wheel.name} and {sdist.name} hold what they should")
    return wheel


def check_wheel(wheel: Path, package: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    roots = {name.split("/")[0] for name in names}
    info = {root for root in roots if root.endswith(".dist-info")}
    assert roots == {package, *info}, f"{wheel.name} holds {sorted(roots)}"
    assert f"{package}/py.typed" in names, f"{wheel.name} is not typed"
    assert any(name.endswith("licenses/LICENSE") for name in names), f"{wheel.name}: no license"
    assert wheel.name.endswith("-py3-none-any.whl"), wheel.name
    assert not any("test" in name.split("/")[-1] for name in names if "/testing/" not in name)


def check_sdist(sdist: Path, package: str) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1].split("/")[0] for name in archive.getnames() if "/" in name}
    allowed = {package, "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", "pyproject.toml"}
    assert package in names, sdist.name
    assert names <= allowed, f"{sdist.name} holds {sorted(names - allowed)}"


class Environment:
    """An empty virtual environment, made and used as the documentation says."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        run(sys.executable, "-m", "venv", folder / "venv")

    def pip(self, *arguments: str | Path) -> str:
        command = (self.home / "venv/bin/pip", "--disable-pip-version-check", *arguments)
        return run(*command, cwd=self.home)

    def prx(self, *arguments: str) -> str:
        return run(self.home / "venv/bin/prx", *arguments, home=self.home, cwd=self.home)

    def installed(self) -> set[str]:
        listed = json.loads(self.pip("list", "--format", "json"))
        return {each["name"].lower().replace("_", "-") for each in listed}

    def check(self, *plugins: Path) -> None:
        version = pyproject(ROOT)["project"]["version"]
        assert self.prx("--version") == f"prx {version}\n"
        listing = self.prx("tunnel", "backends")
        for plugin in plugins:
            assert plugin.name in listing, f"{plugin.name} is not listed:\n{listing}"
        needless = self.installed() & development()
        assert not needless, f"only development needs {needless}"
        if any(plugin.name == "ssh" for plugin in plugins):
            assert "Demo completed in" in self.prx("tunnel", "demo")


def development() -> set[str]:
    groups = pyproject(ROOT)["dependency-groups"]["dev"]
    assert isinstance(groups, list)
    names = {re.split(r"[\[<>=!~; ]", each)[0].lower() for each in groups}
    return {name for name in names if not name.startswith("prx-tunnel")}


def alone(plugin: Path, folder: Path, wheels: Path) -> None:
    """A plugin by its name, from a folder of wheels: as from an index, without the network."""
    folder.mkdir()
    environment = Environment(folder)
    own = environment.installed()
    environment.pip("install", "--no-index", "--find-links", wheels, name_of(plugin))
    environment.check(plugin)
    brought = len(environment.installed() - own)
    if plugin.name == "ssh":
        assert brought <= MOST_PACKAGES, f"{name_of(plugin)} installs {brought} packages"
    print(f"{name_of(plugin)}, alone and without an index: {brought} packages, prx works")


def from_clone(folder: Path) -> None:
    """All from a clone, with pip alone."""
    folder.mkdir()
    environment = Environment(folder)
    environment.pip("install", *MEMBERS)
    environment.check(*PLUGINS)
    print("all of them from a clone, with pip: prx works")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build and check every distribution.")
    parser.add_argument("--out", type=Path, help="an empty or new directory that keeps them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        out = (options.out or folder / "dist").resolve()
        if out.exists() and any(out.iterdir()):
            parser.error(f"{out} is not empty; whatever is in it would be published")
        built = [build(member, out) for member in MEMBERS]
        third_party = Environment(folder)
        third_party.pip("wheel", "--quiet", "--wheel-dir", folder / "wheels", *built)
        with ThreadPoolExecutor(max_workers=2) as pool:
            checks = [
                pool.submit(alone, plugin, folder / plugin.name, folder / "wheels")
                for plugin in PLUGINS
            ]
            checks.append(pool.submit(from_clone, folder / "clone"))
        for check in checks:
            check.result()


if __name__ == "__main__":
    main()
