"""A virtual environment for each peer, and one for us that is made in the same way."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = "prx-tunnel"
MEMBERS = [ROOT, *(ROOT / "plugins" / each for each in ("custom", "ssh"))]
PEERS = {
    "pyngrok": ["pyngrok==9.1.0", "pyyaml==6.0.3"],
    "pycloudflared": ["pycloudflared==0.3.0", "tqdm==4.70.1"],
    "flaredantic": ["flaredantic==0.1.5", "requests==2.34.2", "tqdm==4.70.1"],
    "ngrok SDK": ["ngrok==1.4.0"],
}


def cache() -> Path:
    chosen = os.environ.get("PRX_TUNNEL_BENCHMARKS_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(chosen or f"{base}/prx-tunnel-benchmarks")


def python(name: str) -> Path:
    """The interpreter of one environment, whether it has been made or not."""
    wanted = _requirements(name)
    digest = hashlib.sha256(f"{sys.version}{wanted}{_metadata(name)}".encode()).hexdigest()[:12]
    return cache() / f"{name.replace(' ', '-').lower()}-{digest}" / "bin" / "python"


def make_all() -> None:
    """Make those that are missing: the only step that may use a network."""
    for name in (OURS, *PEERS):
        if not (python(name).parent / "complete").exists():
            _make(name)


def _make(name: str) -> None:
    interpreter = python(name)
    folder = interpreter.parents[1]
    shutil.rmtree(folder, ignore_errors=True)
    print(f"making the environment of {name}", file=sys.stderr)
    _uv("venv", "--python", sys.executable, str(folder))
    # Outside of the checkout's workspace: nothing may resolve to other versions there.
    _uv("pip", "install", "--compile-bytecode", "--python", str(interpreter), *_requirements(name))
    (interpreter.parent / "complete").touch()


def _uv(*words: str) -> None:
    made = subprocess.run(
        ["uv", "--quiet", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise SystemExit(f"uv {words[0]} failed:\n{made.stdout}{made.stderr}")


def _requirements(name: str) -> list[str]:
    if name != OURS:
        return PEERS[name]
    # Editable, so that what is measured is what stands in the checkout.
    return [word for member in MEMBERS for word in ("--editable", str(member))]


def _metadata(name: str) -> str:
    if name != OURS:
        return ""
    return "".join((each / "pyproject.toml").read_text(encoding="utf-8") for each in MEMBERS)
