"""Backends that do one thing wrong each, and the one test of the contract that has to say so.

Not collected by itself: tests/testing/test_wrong_backends.py runs it in a pytest of its own.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest
from pydantic import ConfigDict, SecretStr

from prx_tunnel_core import (
    AnyBackend,
    Backend,
    BackendConfig,
    Check,
    ConnectError,
    Connection,
    ProgramExited,
    ProgramNotFound,
    SetupError,
    Target,
    TunnelProcess,
    find_program,
    hookimpl,
    open_process,
)
from prx_tunnel_core.testing import BackendContract

URL = "https://tunnel.faulty.example"
CANARY = "canary-9fk27Wq"

Connect: TypeAlias = Callable[[Any, Target], AbstractAsyncContextManager[Connection]]

EXPECTED: dict[str, str] = {}
"""The contract's class, and its only test that fails."""


class Config(BackendConfig):
    size: int = 1


class SecretConfig(Config):
    token: SecretStr


class Plugin:
    def __init__(self, backend: AnyBackend) -> None:
        self.backend = backend

    @hookimpl
    def prx_tunnel_backends(self) -> Iterable[AnyBackend]:
        return [self.backend]


def contract(
    connect: Connect,
    fails: str,
    *,
    runs_program: bool,
    config: type[BackendConfig] = Config,
    summary: str = "does one thing wrong",
    **attributes: Any,
) -> None:
    """Make the contract of this backend, and note which of its tests has to fail."""
    name = attributes.pop("called", None) or f"Test_{connect.__name__}"
    backend: Backend[Any] = Backend(
        name="faulty",
        summary=summary,
        config=config,
        connect=connect,
        program="faulty" if runs_program else None,
    )
    patience = attributes.pop("patience", 1.5 if runs_program else 0.3)

    @pytest.fixture(autouse=True)
    def _short_of_patience(self: BackendContract, request: pytest.FixtureRequest) -> None:
        """With the test that has to fail; the others pass, however busy the machine is."""
        if request.node.originalname == fails:
            self.patience = patience  # type: ignore[misc]

    settings = {"token": CANARY} if "token" in config.model_fields else {}
    body = {
        "plugin": Plugin(backend),
        "runs_program": runs_program,
        "settings": settings,
        "wrong_settings": {"size": "big"},
        "announces": [f"the tunnel is up at {URL}"],
        "_short_of_patience": _short_of_patience,
        **attributes,
    }
    globals()[name] = type(name, (BackendContract,), body)
    EXPECTED[name] = fails


# --- without a program --------------------------------------------------------------------------


class Memory(Connection):
    def __init__(self, url: str = URL) -> None:
        self.public_url = url
        self.severed = anyio.Event()

    async def wait_closed(self) -> str:
        await self.severed.wait()
        return "it was severed"

    async def abort(self) -> bool:
        self.severed.set()
        return True

    async def check(self) -> Iterable[Check]:
        return [Check("memory", "fail" if self.severed.is_set() else "ok")]


def in_memory(fails: str, **options: Any) -> Callable[[Connect], Connect]:
    def add(connect: Connect) -> Connect:
        contract(connect, fails, runs_program=False, **options)
        return connect

    return add


@asynccontextmanager
async def memory(config: Config, target: Target) -> AsyncIterator[Connection]:
    await anyio.lowlevel.checkpoint()
    yield Memory()


def alike(name: str) -> Connect:
    """A connect that does nothing wrong, under a name of its own."""

    def connect(config: Config, target: Target) -> AbstractAsyncContextManager[Connection]:
        return memory(config, target)

    connect.__name__ = name
    return connect


class Forgiving(Config):
    model_config = ConfigDict(extra="ignore")


class Lenient(Config):
    model_config = ConfigDict(strict=False)
    size: Any = 1


class Mutable(Config):
    model_config = ConfigDict(frozen=False)


class PlainToken(Config):
    token: str = ""


in_memory("test_the_plugin_provides_the_backend", summary="")(alike("without_a_summary"))
in_memory("test_wrong_settings_are_refused_by_their_key", config=Forgiving)(alike("forgiving"))
in_memory("test_wrong_settings_are_refused_by_their_key", config=Lenient)(alike("lenient"))
in_memory("test_settings_cannot_be_changed", config=Mutable)(alike("mutable"))
in_memory("test_secrets_are_typed_as_secrets", config=PlainToken)(alike("plain_token"))
in_memory("test_another_event_loop_is_refused_in_words", event_loops=("asyncio",))(alike("picky"))


@in_memory("test_it_comes_up")
@asynccontextmanager
async def gives_the_local_port(config: Config, target: Target) -> AsyncIterator[Connection]:
    yield Memory(f"http://127.0.0.1:{target.port}")


@in_memory("test_it_comes_up_again")
@asynccontextmanager
async def works_once(config: Config, target: Target) -> AsyncIterator[Connection]:
    if any(config is each for each in _used):
        raise ConnectError("these settings are in use")
    _used.append(config)
    yield Memory()


@in_memory("test_nothing_has_to_be_picklable")
@asynccontextmanager
async def pickles(config: Config, target: Target) -> AsyncIterator[Connection]:
    pickle.dumps(config)
    yield Memory()


class Mute(Memory):
    async def check(self) -> Iterable[Check]:
        raise RuntimeError("not now")


class Vague(Memory):
    async def check(self) -> Iterable[Check]:
        return ["fine"]  # type: ignore[list-item]


class Sure(Memory):
    async def check(self) -> Iterable[Check]:
        return [Check("memory", "ok")]


class Deaf(Memory):
    async def wait_closed(self) -> str:
        await anyio.sleep_forever()
        return ""


def connecting(kind: type[Memory], name: str) -> Connect:
    @asynccontextmanager
    async def connect(config: Config, target: Target) -> AsyncIterator[Connection]:
        yield kind()

    connect.__name__ = name
    return connect


in_memory("test_the_providers_word_is_usable")(connecting(Mute, "check_raises"))
in_memory("test_the_providers_word_is_usable")(connecting(Vague, "check_is_vague"))
in_memory("test_a_severed_connection_is_noticed")(connecting(Sure, "always_fine"))
in_memory("test_a_severed_connection_is_noticed")(connecting(Deaf, "never_tells"))


@in_memory("test_the_event_loop_runs_on")
@asynccontextmanager
async def blocks(config: Config, target: Target) -> AsyncIterator[Connection]:
    time.sleep(0.25)  # noqa: ASYNC251 - that is what is wrong
    yield Memory()


@in_memory("test_cancelling_at_any_await_leaves_nothing")
@asynccontextmanager
async def renames_cancellation(config: Config, target: Target) -> AsyncIterator[Connection]:
    try:
        await anyio.sleep(0.001)
    except BaseException as error:
        raise ConnectError("something went wrong") from error
    yield Memory()


@in_memory("test_nothing_is_left")
@asynccontextmanager
async def leaves_a_descriptor(config: Config, target: Target) -> AsyncIterator[Connection]:
    os.open(os.devnull, os.O_RDONLY)
    yield Memory()


@in_memory("test_nothing_is_left")
@asynccontextmanager
async def leaves_a_thread(config: Config, target: Target) -> AsyncIterator[Connection]:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    yield Memory()


@in_memory("test_nothing_is_left")
@asynccontextmanager
async def leaves_a_task(config: Config, target: Target) -> AsyncIterator[Connection]:
    import asyncio

    import trio

    try:
        asyncio.get_running_loop()
        _tasks.append(asyncio.create_task(asyncio.sleep(3)))
    except RuntimeError:
        trio.lowlevel.spawn_system_task(trio.sleep_forever)
    yield Memory()


_tasks: list[object] = []
_used: list[Config] = []


@in_memory("test_nothing_is_left")
@asynccontextmanager
async def leaves_a_file(config: Config, target: Target) -> AsyncIterator[Connection]:
    handle, _ = tempfile.mkstemp()
    os.close(handle)
    yield Memory()


@in_memory("test_the_host_is_not_changed")
@asynccontextmanager
async def sets_a_variable(config: Config, target: Target) -> AsyncIterator[Connection]:
    os.environ["FAULTY"] = "1"
    yield Memory()
    del os.environ["FAULTY"]


@in_memory("test_the_host_is_not_changed")
@asynccontextmanager
async def sets_the_log_level(config: Config, target: Target) -> AsyncIterator[Connection]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(level + 1)
    yield Memory()
    root.setLevel(level)


@in_memory("test_secrets_are_told_to_nobody", config=SecretConfig)
@asynccontextmanager
async def logs_the_token(config: SecretConfig, target: Target) -> AsyncIterator[Connection]:
    logging.getLogger("faulty").debug("logging in with %s", config.token.get_secret_value())
    yield Memory()


@in_memory("test_secrets_are_told_to_nobody", config=SecretConfig)
@asynccontextmanager
async def keeps_the_token(config: SecretConfig, target: Target) -> AsyncIterator[Connection]:
    connection = Memory()
    connection.details = {"login": f"user:{config.token.get_secret_value()}"}
    yield connection


@in_memory("test_secrets_lie_in_private_files", config=SecretConfig)
@asynccontextmanager
async def writes_a_public_file(config: SecretConfig, target: Target) -> AsyncIterator[Connection]:
    path = os.path.join(tempfile.gettempdir(), "faulty.toml")
    file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(file, config.token.get_secret_value().encode())
    os.close(file)
    yield Memory()
    os.unlink(path)


# --- with a program -----------------------------------------------------------------------------


def with_program(fails: str, **options: Any) -> Callable[[Connect], Connect]:
    def add(connect: Connect) -> Connect:
        contract(connect, fails, runs_program=True, **options)
        return connect

    return add


def announced(line: str) -> str | None:
    return line.rpartition(" ")[2] if line.startswith("the tunnel is up at ") else None


def command(target: Target, *more: str) -> list[str]:
    return ["faulty", str(target.port), *more]


@with_program("test_no_url_before_the_tunnel_is_up")
@asynccontextmanager
async def takes_the_first_url(config: Config, target: Target) -> AsyncIterator[Connection]:
    def any_url(line: str) -> str | None:
        found = (word.strip(",:\"'") for word in line.split() if "https://" in word)
        return next(found, None)

    async with open_process(command(target)) as process:
        yield process.connection(await process.first_match(any_url))


@with_program("test_a_missing_program_is_named")
@asynccontextmanager
async def retries_what_is_missing(config: Config, target: Target) -> AsyncIterator[Connection]:
    try:
        find_program("faulty")
    except ProgramNotFound as error:
        raise ConnectError(str(error)) from None
    async with open_process(command(target)) as process:
        yield process.connection(await process.first_match(announced))


@with_program("test_a_silent_program_is_no_tunnel", settle=0.8, patience=5.0)
@asynccontextmanager
async def guesses_after_a_while(config: Config, target: Target) -> AsyncIterator[Connection]:
    async with open_process(command(target)) as process:
        url = None
        with anyio.move_on_after(0.7):
            url = await process.first_match(announced)
        if url is None and process.tail:
            url = await process.first_match(announced)
        yield process.connection(url or URL)


@with_program("test_a_program_that_ends_early_is_an_error")
@asynccontextmanager
async def takes_zero_for_success(config: Config, target: Target) -> AsyncIterator[Connection]:
    async with open_process(command(target)) as process:
        try:
            url = await process.first_match(announced)
        except ProgramExited as error:
            if error.returncode:
                raise
            url = URL
        yield process.connection(url)


@with_program("test_a_program_that_ends_early_is_an_error")
@asynccontextmanager
async def gives_up_on_any_end(config: Config, target: Target) -> AsyncIterator[Connection]:
    async with open_process(command(target)) as process:
        try:
            url = await process.first_match(announced)
        except ProgramExited as error:
            raise SetupError(str(error)) from None
        yield process.connection(url)


@with_program("test_a_flood_does_not_stop_the_program")
@asynccontextmanager
async def stops_reading(config: Config, target: Target) -> AsyncIterator[Connection]:
    async with open_process(command(target)) as process:
        url = await process.first_match(announced)

        async def later(*_lines: object, **_how: object) -> None:
            await process._reaped.wait()

        process._output._take = later  # type: ignore[method-assign]
        yield process.connection(url)


class Watching(Connection):
    public_url = URL

    def __init__(self, process: TunnelProcess) -> None:
        self.process = process

    async def wait_closed(self) -> str:
        await self.process.wait()
        return self.process.exit_reason()


class Raising(Watching):
    async def wait_closed(self) -> str:
        await self.process.wait()
        raise ConnectError(self.process.exit_reason())


class Wordless(Watching):
    async def wait_closed(self) -> str:
        await self.process.wait()
        return ""


class Confident(Watching):
    async def check(self) -> Iterable[Check]:
        return [Check("process", "ok", "it was there a moment ago")]


def watching(kind: type[Watching], name: str) -> Connect:
    @asynccontextmanager
    async def connect(config: Config, target: Target) -> AsyncIterator[Connection]:
        async with open_process(command(target)) as process:
            await process.first_match(announced)
            yield kind(process)

    connect.__name__ = name
    return connect


with_program("test_its_end_is_told_with_a_reason")(watching(Raising, "end_raises"))
with_program("test_its_end_is_told_with_a_reason")(watching(Wordless, "end_without_words"))
with_program("test_health_tells_when_the_program_is_dead_or_frozen")(
    watching(Confident, "always_healthy")
)


@with_program("test_secrets_are_not_arguments", config=SecretConfig)
@asynccontextmanager
async def shows_the_token(config: SecretConfig, target: Target) -> AsyncIterator[Connection]:
    token = config.token.get_secret_value()
    async with open_process(command(target, "--token", token), secrets=[token]) as process:
        yield process.connection(await process.first_match(announced))


@with_program("test_secrets_are_told_to_nobody", config=SecretConfig)
@asynccontextmanager
async def does_not_redact(config: SecretConfig, target: Target) -> AsyncIterator[Connection]:
    async with open_process(command(target)) as process:
        yield process.connection(await process.first_match(announced))


# --- with a program that it starts and ends by itself -------------------------------------------


class ByHand(Connection):
    def __init__(self, target: Target, said: Path) -> None:
        program = find_program("faulty")
        with said.open("wb") as output:
            self.popen = subprocess.Popen(
                [program, str(target.port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.said = said

    async def come_up(self) -> None:
        while (line := next(filter(announced, self.lines()), None)) is None:
            if self.popen.poll() is not None:
                raise ConnectError(f"it ended: {self.lines()[-1]}")
            await anyio.sleep(0.003)
        self.public_url = announced(line) or ""

    def lines(self) -> list[str]:
        return self.said.read_text().splitlines()

    async def wait_closed(self) -> str:
        while self.popen.poll() is None:
            await anyio.sleep(0.003)
        return f"it ended with code {self.popen.returncode}"


@asynccontextmanager
async def by_hand(
    end: Callable[[subprocess.Popen[bytes]], None],
    config: Config,
    target: Target,
    *,
    shield: bool = True,
) -> AsyncIterator[Connection]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        connection = ByHand(target, Path(folder, "said"))
        try:
            await connection.come_up()
            yield connection
        finally:
            with anyio.CancelScope(shield=shield):
                await anyio.sleep(0.001)
                end(connection.popen)


def end_group(popen: subprocess.Popen[bytes]) -> None:
    if popen.returncode is None:
        os.killpg(popen.pid, 9)
        popen.wait()


def end_politely(popen: subprocess.Popen[bytes]) -> None:
    popen.terminate()
    try:
        popen.wait(0.2)
    except subprocess.TimeoutExpired:
        popen.returncode = -15  # so it is told, and nobody looks again
    else:
        _end_rest(popen)


def end_one(popen: subprocess.Popen[bytes]) -> None:
    popen.kill()
    popen.wait()


def _end_rest(popen: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, 9)


def handmade(fails: str, name: str, connect: Connect) -> None:
    contract(connect, fails, runs_program=True, called=f"Test_{name}")


handmade("test_a_program_that_ignores_term_is_ended", "asks_only", partial(by_hand, end_politely))
handmade("test_its_children_are_ended_too", "ends_one", partial(by_hand, end_one))
handmade(
    "test_cancelling_at_any_await_leaves_nothing",
    "ends_unless_cancelled",
    partial(by_hand, end_group, shield=False),
)

# --- and some that do everything right ----------------------------------------------------------

in_memory("")(alike("right_in_memory"))
handmade("", "right_by_hand", partial(by_hand, end_group))


@with_program("", config=SecretConfig)
@asynccontextmanager
async def right_with_a_program(config: SecretConfig, target: Target) -> AsyncIterator[Connection]:
    async with open_process(command(target), env={"TOKEN": config.token}) as process:
        yield process.connection(await process.first_match(announced))
