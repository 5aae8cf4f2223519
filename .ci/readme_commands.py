"""Print the two commands that the README tells a newcomer to run."""

import re
from pathlib import Path

readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
blocks = re.findall(r"^```console\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
commands = [
    line.removeprefix("$ ")
    for block in blocks
    for line in block.splitlines()
    if line.startswith("$ pip install uv")
]
if len(commands) != 2:
    raise SystemExit(f"README.md tells a newcomer {len(commands)} commands instead of two")
print("\n".join(commands))
