"""Print the two commands with which the README begins: the demo, and the tests."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
BEGINNING = "python3 -m venv "
ENDINGS = ("prx tunnel demo", "pytest")


def main() -> None:
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    for ending in ENDINGS:
        found = [line for line in lines if line.startswith(BEGINNING) and line.endswith(ending)]
        if len(found) != 1:
            raise SystemExit(
                f"README.md has {len(found)} commands that begin with {BEGINNING!r} and end with "
                f"{ending!r} in its console blocks; it must have one"
            )
        print(found[0])


if __name__ == "__main__":
    main()
