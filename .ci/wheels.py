"""Build every distribution, look into it, install all into an empty environment, and use them."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEMBERS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, text=True, capture_output=True, check=False
    )
    if result.returncode:
        raise SystemExit(f"{command}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


def package_of(member: Path) -> str:
    (package,) = [path.parent.name for path in member.glob("prx_tunnel_*/__init__.py")]
    return package


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
    assert names <= allowed | {".gitignore"}, f"{sdist.name} holds {sorted(names - allowed)}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        wheels = []
        for member in MEMBERS:
            run("uv", "build", "--quiet", "--out-dir", out / "dist", member)
            package = package_of(member)
            (wheel,) = (out / "dist").glob(f"{package}-*.whl")
            (sdist,) = (out / "dist").glob(f"{package}-*.tar.gz")
            check_wheel(wheel, package)
            check_sdist(sdist, package)
            wheels.append(wheel)
            print(f"{wheel.name} and {sdist.name} hold what they should")
        run(sys.executable, "-m", "venv", out / "venv")
        prx = out / "venv/bin/prx"
        run(out / "venv/bin/pip", "install", "--quiet", *wheels)
        print(run(prx, "--version", cwd=out), end="")
        listing = run(prx, "tunnel", "backends", cwd=out)
        print(listing, end="")
        for member in MEMBERS[1:]:
            assert member.name in listing, f"{member.name} is not listed"
        print(run(prx, "tunnel", "demo", cwd=out), end="")


if __name__ == "__main__":
    main()
