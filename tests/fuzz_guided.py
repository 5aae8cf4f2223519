"""Fuzz one target guided by coverage, with atheris, where that installs (Linux and macOS).

    uv run --with atheris python tests/fuzz_guided.py FILE TEST -max_total_time=60

TEST is a property test of FILE in `tests/fuzz`; arguments that begin with a dash go to libFuzzer.
A failure is printed as Hypothesis prints it, and kept in its database: the test itself fails next.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]


def main() -> None:
    file, name, *options = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parent))
    with atheris.instrument_imports(include=["prx_tunnel_core"]):
        spec = importlib.util.spec_from_file_location("target", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    atheris.Setup([sys.argv[0], *options], getattr(module, name).hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
