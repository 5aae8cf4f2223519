"""Secrets reach the program, and nobody else."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prx_tunnel_core.errors import TunnelError
from prx_tunnel_core.testing._kit import Kit, say
from prx_tunnel_core.testing._place import Place
from prx_tunnel_core.testing._stand_in import StandIn
from prx_tunnel_core.text import Redactor


class Secrets(Kit):
    async def test_secrets_are_not_arguments(self, scripted: StandIn) -> None:
        """Every user of the machine can read the arguments of every program."""
        leaks = _Leaks(self.secrets())
        async with self.in_time("the tunnel did not come up", scripted), self.opened():
            pass
        given = [word for run in scripted.runs for word in run.arguments]
        assert not leaks.among(given), "an argument of the program holds a secret"

    async def test_secrets_are_told_to_nobody(self, program_stand_in: StandIn) -> None:
        """Although the program says each of them, as some do, and then ends."""
        secrets = self.secrets()
        spoken = say(*(f"using {secret}" for secret in secrets))
        config = self.read(self.settings)
        texts = [repr(config), str(config), f"{config}", config.model_dump_json()]
        async with self.in_time("the tunnel did not come up and end", program_stand_in):
            with _logged(texts):
                program_stand_in.does(*spoken, after=[*spoken, ("exit", "1")])
                await self._live(program_stand_in, texts)
                program_stand_in.does(*spoken, ("exit", "1"))
                await self._fail(texts)
        assert not (found := _Leaks(secrets).among(texts)), f"a secret is shown: {found[0]}"

    async def test_secrets_lie_in_private_files(
        self, program_stand_in: StandIn, place: Place
    ) -> None:
        leaks = _Leaks(self.secrets())
        async with self.in_time("the tunnel did not come up", program_stand_in), self.opened():
            open_to_others = [
                f"{path.name} has mode {path.stat().st_mode & 0o777:o}"
                for path in filter(Path.is_file, place.files())
                if path.stat().st_mode & 0o077 and leaks.among([path.read_text("latin-1")])
            ]
        assert not open_to_others, f"others may read a secret: {', '.join(open_to_others)}"

    async def _live(self, stand_in: StandIn, texts: list[str]) -> None:
        async with self.opened() as connection:
            texts += [repr(connection), repr(vars(connection)), *connection.details.values()]
            if self.runs_program:
                stand_in.go_on()
                texts.append(await connection.wait_closed())
            texts += [check.detail for check in await connection.check()]

    async def _fail(self, texts: list[str]) -> None:
        try:
            async with self.opened():
                pass
        except TunnelError as error:
            texts += [*traceback.format_exception(error), repr(error), repr(vars(error))]


class _Leaks:
    """Recognises the secrets, also quoted and in base64."""

    def __init__(self, secrets: list[str]) -> None:
        self._redact = Redactor(secrets)

    def among(self, texts: list[str]) -> list[str]:
        """The texts that hold one, with it masked: a report of a test is read by many."""
        return [masked for text in texts if (masked := self._redact(text)) != text]


@contextmanager
def _logged(texts: list[str]) -> Iterator[None]:
    """Add all that is logged, by anybody and at every level."""
    handler = logging.Handler(logging.DEBUG)
    formatter = logging.Formatter("%(name)s %(message)s")
    handler.emit = lambda record: texts.append(formatter.format(record))  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
