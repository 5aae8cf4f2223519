"""Where the tests of a contract run: nobody's home, and nobody's programs."""

from __future__ import annotations

from pathlib import Path

import pytest

_XDG = ("CONFIG_HOME", "DATA_HOME", "CACHE_HOME", "STATE_HOME", "RUNTIME_DIR")


class Place:
    """A home and a folder for temporary files, which belong to one test."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch
        for name in ("home", "tmp"):
            (folder / name).mkdir(parents=True, mode=0o700)
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("TMPDIR", str(folder / "tmp"))
        patch.setattr("tempfile.tempdir", None)  # where it was remembered
        for name in _XDG:
            patch.delenv(f"XDG_{name}", raising=False)

    def files(self) -> list[Path]:
        """Everything that a backend or its program has put there, and not taken away."""
        return [path for name in ("home", "tmp") for path in (self.folder / name).rglob("*")]

    def programs(self, *folders: Path) -> None:
        """Where programs are looked for."""
        self._patch.setenv("PATH", ":".join(map(str, [*folders, "/usr/bin", "/bin"])))

    def no_programs(self) -> None:
        empty = self.folder / "empty"
        empty.mkdir(mode=0o700)
        self._patch.setenv("PATH", str(empty))
