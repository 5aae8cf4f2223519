"""The version that all distributions share, and the bound that dependents put on the core.

python3 .ci/version.py                 print the version
python3 .ci/version.py 0.2.0           set it everywhere
python3 .ci/version.py --check v0.2.0  exit with 1 unless this tag releases it
"""

from __future__ import annotations

import argparse
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
VERSIONS = {
    **dict.fromkeys(PROJECTS, re.compile(r'^(version = ")([^"]*)(")$', re.MULTILINE)),
    ROOT / "prx_tunnel_core/__init__.py": re.compile(
        r'^(__version__ = ")([^"]*)(")$', re.MULTILINE
    ),
}
BOUND = re.compile(r"(prx-tunnel-core(?:\[[\w,-]+\])?) ?((?:,? ?(?:[<>]=?|[=!~]=) ?\d[\w.*]*)+)")
SUFFIXES = (".in", ".md", ".py", ".toml", ".yml")
NOT_OURS = {"build", "dist", "node_modules", "tests"}
_NUMBER = "(0|[1-9][0-9]*)"
FORM = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}((?:a|b|rc)[0-9]+)?")


class Inconsistent(SystemExit):
    def __init__(self, problems: list[str]) -> None:
        super().__init__("Inconsistent versions; correct these by hand:\n" + "\n".join(problems))


def bound(version: str) -> str:
    """The dependents' bound: a minor release may break them before 1.0, a major release after."""
    form = FORM.fullmatch(version)
    if form is None:
        raise SystemExit(f"{version!r} is not a version such as 0.2.0, 1.0.0 or 1.0.0rc1")
    major, minor, patch, pre = int(form[1]), int(form[2]), int(form[3]), form[4]
    # ">=0.2" does not admit 0.2.0rc1, which comes before it.
    lowest = version if pre and not patch else f"{major}.{minor}"
    return f">={lowest},<{major}.{minor + 1}" if major == 0 else f">={lowest},<{major + 1}"


def texts() -> Iterator[Path]:
    """Every file that may name the bound; the changelog says what it once was."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name[0] != "." and name not in NOT_OURS]
        yield from (Path(folder, name) for name in names if name.endswith(SUFFIXES))


def bounded() -> dict[Path, str]:
    found = {path: path.read_text(encoding="utf-8") for path in texts() if path.is_file()}
    return {
        path: text
        for path, text in found.items()
        if path.name != "CHANGELOG.md" and BOUND.search(text)
    }


def current() -> str:
    """The one version of all; raises Inconsistent with every place that disagrees."""
    found = {}
    for path, pattern in VERSIONS.items():
        matches = pattern.findall(path.read_text(encoding="utf-8"))
        found[path] = matches[0][1] if len(matches) == 1 else f"{len(matches)} versions"
    if len(set(found.values())) != 1:
        raise Inconsistent([f"{_short(path)}: {version}" for path, version in found.items()])
    (version,) = set(found.values())
    right = bound(version)
    problems = [
        f"{_short(path)}: {name}{other} instead of {name}{right}"
        for path, text in bounded().items()
        for name, other in BOUND.findall(text)
        if other != right
    ]
    for path in PROJECTS[1:]:
        dependencies = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
        if not any(BOUND.fullmatch(dependency) for dependency in dependencies):
            problems.append(f"{_short(path)}: does not depend on prx-tunnel-core{right}")
    if problems:
        raise Inconsistent(problems)
    return version


def set_everywhere(version: str) -> None:
    right = bound(version)
    current()
    changed: dict[Path, str] = {}
    for path, text in bounded().items():
        changed[path] = BOUND.sub(rf"\g<1>{right}", text)
    for path, pattern in VERSIONS.items():
        text = changed.get(path, path.read_text(encoding="utf-8"))
        changed[path] = pattern.sub(rf"\g<1>{version}\g<3>", text)
    for path, text in sorted(changed.items()):
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{_short(path)}: changed")


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description="Print, set or check the version of all.")
    parser.add_argument("version", nargs="?", help="the version to set, such as 0.2.0")
    parser.add_argument("--check", metavar="TAG", help="a release's tag, such as v0.2.0")
    options = parser.parse_args()
    if options.version and options.check:
        parser.error("give a version to set or --check TAG, not both")
    if options.version is not None:
        set_everywhere(options.version)
    version = current()
    if options.check and options.check != f"v{version}":
        raise SystemExit(f"the tag {options.check} does not release {version}; tag v{version}")
    print(version)


if __name__ == "__main__":
    main()
