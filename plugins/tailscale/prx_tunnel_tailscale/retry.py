"""What tailscaled stores has one version: of two who change it at once, one is refused."""

from __future__ import annotations

import random

import anyio

TRIES = 5
_STEP = 0.03  # seconds


async def pause(number: int) -> None:
    """Let the rivals finish before the next try; at random, so that they do not meet again."""
    await anyio.sleep(random.uniform(_STEP, 2 * _STEP) * number)  # noqa: S311 - guards nothing
