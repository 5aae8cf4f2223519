"""The attributes that describe a backend to its contract, and what the contract tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from prx_tunnel_core._plugins import PluginRegistry
from prx_tunnel_core.backend import Backend, Connection, Target
from prx_tunnel_core.config import BackendConfig, validate
from prx_tunnel_core.errors import unwrap_group
from prx_tunnel_core.process import _process
from prx_tunnel_core.secrets import secrets_of
from prx_tunnel_core.testing._stand_in import StandIn, Step

GRACE = 0.1  # seconds for a program that ignores TERM, whatever the grace of its backend
LINGER = 5.0  # seconds for a killed process to be gone, on a busy machine


_XDG = ("CONFIG_HOME", "DATA_HOME", "CACHE_HOME", "STATE_HOME", "RUNTIME_DIR")


class Place:
    """A home and a folder for temporary files for one test, without the user's programs."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch
        for name in ("home", "tmp"):
            (folder / name).mkdir(parents=True, mode=0o700)
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("TMPDIR", str(folder / "tmp"))
        patch.setattr("tempfile.tempdir", None)  # where `tempfile` caches it
        for name in _XDG:
            patch.delenv(f"XDG_{name}", raising=False)

    def files(self) -> list[Path]:
        """Everything that a backend or its program has left there."""
        return [path for name in ("home", "tmp") for path in (self.folder / name).rglob("*")]

    def programs(self, *folders: Path) -> None:
        """Search programs in these folders, before the system's."""
        self._patch.setenv("PATH", ":".join(map(str, [*folders, "/usr/bin", "/bin"])))

    def no_programs(self) -> None:
        empty = self.folder / "empty"
        empty.mkdir(mode=0o700)
        self._patch.setenv("PATH", str(empty))


class Kit:
    """Set these on the subclass; `plugin` is required, and `announces` or `stand_in`."""

    plugin: object
    """The module, or object, with the hook `prx_tunnel_backends`."""
    backend_name: ClassVar[str] = ""
    """The name of the backend, when the plugin yields several."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """The table `[tunnel.<name>]` of a tunnel that opens, with every secret that it may have."""
    wrong_settings: ClassVar[Mapping[str, Any]] = {}
    """Keys with a value that is not allowed; the error has to name the key."""
    public_url: ClassVar[str] = ""
    """The public URL, when it is always the same."""
    target: ClassVar[Target] = Target("127.0.0.1", 3000)

    program: ClassVar[str] = ""
    """The file name of the stand-in; `Backend.program` when empty."""
    announces: ClassVar[Sequence[str]] = ()
    """The lines that the program prints; after the last one, the tunnel is open."""
    stand_in: ClassVar[str] = ""
    """Python source of a program that does more than print; standard library only."""
    subcommand: ClassVar[str] = ""
    """The argument that marks the run that is the tunnel, when the program runs several times."""

    runs_program: ClassVar[bool] = True
    """Whether there is a child process; without one, override `far_end` and `Connection.abort`."""
    program_carries_traffic: ClassVar[bool] = True
    """Whether a stopped program stops the tunnel; false where a daemon carries the traffic."""
    holds_secrets: ClassVar[bool] = True
    """Whether `settings` may have a secret; false where its secrets are for another use."""
    event_loops: ClassVar[Sequence[str]] = ("asyncio", "trio")
    """The event loops that it works on; on another one, it has to raise SetupError."""
    patience: ClassVar[float] = 20.0
    """Seconds after which a test fails because something hangs."""
    settle: ClassVar[float] = 0.1
    """Seconds to wait for something that must not happen."""

    waived: ClassVar[Mapping[str, str]] = {}
    """Names of tests that do not apply to this backend, each with the reason."""

    @asynccontextmanager
    async def far_end(self) -> AsyncIterator[Mapping[str, Any]]:
        """Override this to start the server; yields the settings that lead to it."""
        yield self.settings

    # --- what the tests stand on ----------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each asynchronous test on each event loop, whatever the author's conftest has."""
        if "anyio_backend" in metafunc.fixturenames:
            metafunc.parametrize("anyio_backend", self.event_loops)

    @pytest.fixture(autouse=True)
    def _waived(self, request: pytest.FixtureRequest) -> None:
        reason = self.waived.get(request.node.originalname)
        if reason:
            pytest.skip(f"waived: {reason}")

    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> Iterator[Place]:
        with pytest.MonkeyPatch.context() as patch:
            yield Place(tmp_path / "contract", patch)

    @pytest.fixture(autouse=True)
    def program_stand_in(self, place: Place) -> Iterator[StandIn]:
        made = StandIn(
            place.folder / "stand-in",
            self.program or self.backend.program or "no-program",
            announces=self.announces,
            source=self.stand_in,
            subcommand=self.subcommand,
        )
        place.programs(made.bin)
        yield made
        made.close()

    @pytest.fixture
    def scripted(self, program_stand_in: StandIn) -> StandIn:
        """The program of the next connection; skips the test of a backend without one."""
        if not self.runs_program:
            pytest.skip("this backend runs no program")
        return program_stand_in

    @pytest.fixture
    def hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Bound the grace of every program by `GRACE`."""
        monkeypatch.setattr(_process, "MAX_GRACE", GRACE)

    @property
    def backend(self) -> Backend[Any]:
        found = _backends(self.plugin)
        if not self.backend_name and len(found) == 1:
            return next(iter(found.values()))
        if self.backend_name not in found:
            pytest.fail(f"set backend_name to one of {', '.join(found) or '(none is yielded)'}")
        return found[self.backend_name]

    def read(self, settings: Mapping[str, Any]) -> BackendConfig:
        backend = self.backend
        config: BackendConfig = validate(backend.config, settings, path=f"tunnel.{backend.name}")
        return config

    @asynccontextmanager
    async def opened(
        self, kind: Callable[[BackendConfig], BackendConfig] = lambda config: config
    ) -> AsyncIterator[Connection]:
        """Open a connection as core does."""
        async with self.far_end() as settings:
            config = kind(self.read(settings))
            with unwrap_group():
                async with self.backend.connect(config, self.target) as connection:
                    yield connection

    @asynccontextmanager
    async def in_time(self, what: str, stand_in: StandIn) -> AsyncIterator[None]:
        """Fail when the body takes too long, even within a shielded scope."""
        late = False

        async def rescue() -> None:
            nonlocal late
            await anyio.sleep(self.patience)
            late = True
            stand_in.kill()  # ends what waits for the program in a shielded scope
            tasks.cancel_scope.cancel()

        with unwrap_group():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(rescue)
                yield
                tasks.cancel_scope.cancel()
        if late:
            pytest.fail(f"{what} within {self.patience:g} s")

    def secrets(self) -> list[str]:
        """The secrets in `settings`; skips the test of a backend that has none."""
        kind = self.backend.config
        fields = [
            name for name, field in kind.model_fields.items() if "Secret" in str(field.annotation)
        ]
        if not fields or not self.holds_secrets:
            pytest.skip("this backend has no secret")
        found = secrets_of(self.read(self.settings))
        assert found, f"`settings` has to hold a secret ({', '.join(fields)}), or nothing is tested"
        return found


@cache
def _backends(plugin: object) -> dict[str, Backend[Any]]:
    plugins = PluginRegistry(environ={}, entry_points=list)
    plugins.register(plugin, name="under test")
    return {each.name: plugins.backend(each.name) for each in plugins.listing()}


async def gone(stand_in: StandIn, patience: float) -> bool:
    """Whether all its processes have ended; one that was just killed may take a while."""
    with anyio.move_on_after(min(LINGER, patience)):
        while stand_in.is_running():
            await anyio.sleep(0.005)
    return not stand_in.is_running()


def say(*lines: str) -> list[Step]:
    return [("say", line) for line in lines]
