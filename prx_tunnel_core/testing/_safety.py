"""Contract tests of what a backend must not do: hide its settings, leave things behind, leak."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from pydantic import ValidationError

from prx_tunnel_core.errors import ConfigError, SetupError, TunnelError
from prx_tunnel_core.testing._kit import LINGER, Kit, Place, gone, say
from prx_tunnel_core.testing._stand_in import StandIn
from prx_tunnel_core.text import Redactor, sounds_secret

# Idle threads in the pools of the event loops.
_POOLED = ("Trio thread", "AnyIO worker thread", "asyncio_")


class Safety(Kit):
    # --- what it says of itself, and of wrong settings -------------------------------------------

    def test_the_plugin_provides_the_backend(self) -> None:
        backend = self.backend
        assert backend.summary.strip(), "summary: one line for `prx tunnel backends`"
        assert backend.summary.isprintable(), "summary: one line, without control characters"
        if not self.runs_program:
            assert backend.program is None, "it names a program, so `runs_program` is wrong"

    def test_wrong_settings_are_refused_by_their_key(self) -> None:
        table = f"tunnel.{self.backend.name}"
        with pytest.raises(ConfigError) as caught:
            self.read({**self.settings, "no_such_key": 1})
        assert "no_such_key" in str(caught.value)
        assert table in str(caught.value)
        for key, value in self.wrong_settings.items():
            with pytest.raises(ConfigError) as caught:
                self.read({**self.settings, key: value})
            assert key in str(caught.value), f"the error does not name {key}: {caught.value}"

    def test_settings_cannot_be_changed(self) -> None:
        """All attempts share one object, and so does `prx tunnel status`."""
        config = self.read(self.settings)
        for name in type(config).model_fields:
            with pytest.raises((ValidationError, AttributeError, TypeError)):
                setattr(config, name, getattr(config, name))

    def test_secrets_are_typed_as_secrets(self) -> None:
        """Otherwise every repr, error and log record with the settings would show them."""
        plain = [
            name
            for name, field in self.backend.config.model_fields.items()
            if sounds_secret(name)
            and "str" in str(field.annotation)
            and "Secret" not in str(field.annotation)
        ]
        assert not plain, f"write SecretStr for {', '.join(plain)}"

    def test_another_event_loop_is_refused_in_words(self) -> None:
        others = {"asyncio", "trio"} - set(self.event_loops)
        if not others:
            pytest.skip("this backend works on every event loop")

        async def connect() -> None:
            with pytest.raises(SetupError, match=r"(?i)asyncio|trio"):
                async with self.opened():
                    pytest.fail("it works, so `event_loops` is too short")

        for name in others:
            anyio.run(connect, backend=name)

    # --- what is left afterwards, and what it does to its host: nothing --------------------------

    async def test_nothing_is_left(self, program_stand_in: StandIn, place: Place) -> None:
        """Measured from the second connection on: the first may fill caches."""
        async with self.in_time("the tunnel did not come up and close", program_stand_in):
            files = held(place)["files"]
            await self._once()
            before = {**held(place), "files": files}
            await self._once()
        with anyio.move_on_after(min(LINGER, self.patience)):
            while grown(before, place):
                await anyio.sleep(0.01)
        more = grown(before, place)
        assert not more, f"a connection left behind {more}"
        assert await gone(program_stand_in, self.patience), "the program outlived its connection"

    async def test_the_host_is_not_changed(self, program_stand_in: StandIn) -> None:
        """A backend must not change what belongs to the whole process, not even for a while."""
        before = host()
        async with (
            self.in_time("the tunnel did not come up and close", program_stand_in),
            self.opened(),
        ):
            during = host()
        after = host()
        changed = [key for key in before if not before[key] == during[key] == after[key]]
        if changed:
            pytest.fail(f"the backend changed {', '.join(changed)}")

    async def _once(self) -> None:
        async with self.opened():
            await anyio.lowlevel.checkpoint()

    # --- secrets reach the program, and nothing else ---------------------------------------------

    async def test_secrets_are_not_arguments(self, scripted: StandIn) -> None:
        """Every user of the machine can read the arguments of every program."""
        leaks = _Leaks(self.secrets())
        async with self.in_time("the tunnel did not come up", scripted), self.opened():
            pass
        given = [word for run in scripted.runs for word in run.arguments]
        assert not leaks.among(given), "an argument of the program holds a secret"

    async def test_secrets_are_told_to_nobody(self, program_stand_in: StandIn) -> None:
        """Even when the program prints each of them, and then ends."""
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


def held(place: Place) -> dict[str, set[str]]:
    """By kind: descriptors, threads, tasks of the running event loop, and files in that place."""
    threads = [t for t in threading.enumerate() if not t.name.startswith(_POOLED)]
    return {
        "descriptors": _descriptors(),
        "threads": {f"{thread.name} {thread.ident}" for thread in threads},
        "tasks": {f"{task.name} {task.id}" for task in anyio.get_running_tasks()},
        "files": {str(path) for path in place.files()},
    }


def grown(before: Mapping[str, set[str]], place: Place) -> str:
    """What there is more of than before, as text; empty when there is nothing."""
    more = _more(before, held(place))
    if any(more.values()):
        gc.collect()  # only what is still referred to is a leak
        more = _more(before, held(place))
    return "; ".join(f"{kind}: {', '.join(new)}" for kind, new in more.items() if new)


def _more(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> dict[str, list[str]]:
    return {kind: sorted(after[kind] - before[kind]) for kind in before}


def host() -> dict[str, object]:
    """What belongs to the whole process."""
    root = logging.getLogger()
    handlers = {each.name: signal.getsignal(each) for each in signal.Signals}
    return {
        "the environment": dict(os.environ),
        "the working directory": os.getcwd(),
        "signal handlers": {name: repr(handler) for name, handler in handlers.items()},
        "the root logger": (root.level, [repr(each) for each in root.handlers]),
        "sys.path": list(sys.path),
        "exception hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
    }


def _descriptors() -> set[str]:
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # the directory that was read
        found.add(f"{name} ({status.st_dev}, inode {status.st_ino})")
    return found


class _Leaks:
    """Finds the secrets in texts, also quoted and in base64."""

    def __init__(self, secrets: list[str]) -> None:
        self._redact = Redactor(secrets)

    def among(self, texts: list[str]) -> list[str]:
        """The texts with a secret, with it masked, as many people read a test report."""
        return [masked for text in texts if (masked := self._redact(text)) != text]


@contextmanager
def _logged(texts: list[str]) -> Iterator[None]:
    """Add every log record, of all loggers and levels."""
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
