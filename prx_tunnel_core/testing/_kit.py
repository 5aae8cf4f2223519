"""What a contract is told about its backend, and what its tests share."""

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
from prx_tunnel_core.config import BackendConfig, secrets_of, validate
from prx_tunnel_core.errors import unwrap_group
from prx_tunnel_core.process import _process
from prx_tunnel_core.testing._stand_in import StandIn, Step

# Seconds that a program which does not end when asked is given, whatever its backend's grace is.
GRACE = 0.1
LINGER = 5.0  # seconds that what was ended may take until it is gone, on a busy machine


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


class Kit:
    """Set these on the subclass; only `plugin` and one of `announces` and `stand_in` are needed."""

    plugin: object
    """The module, or object, with the hook `prx_tunnel_backends`."""
    backend_name: ClassVar[str] = ""
    """Which backend, when the plugin yields several."""
    settings: ClassVar[Mapping[str, Any]] = {}
    """`[tunnel.<name>]` of a tunnel that comes up; all its secrets among them."""
    wrong_settings: ClassVar[Mapping[str, Any]] = {}
    """One key with a value that is not allowed, for each that is to be refused by its name."""
    public_url: ClassVar[str] = ""
    """The URL of the tunnel, when it is always the same."""
    target: ClassVar[Target] = Target("127.0.0.1", 3000)

    program: ClassVar[str] = ""
    """The name under which the stand-in is installed; the backend's own `program` when empty."""
    announces: ClassVar[Sequence[str]] = ()
    """What the program prints; with the last line, the tunnel is up."""
    stand_in: ClassVar[str] = ""
    """Python source that plays a program which does more than print; standard library only."""
    subcommand: ClassVar[str] = ""
    """Of a program that is run several times, the argument of the run that is the tunnel."""

    runs_program: ClassVar[bool] = True
    """Whether there is a child process; without one, `far_end` and `Connection.abort` are used."""
    program_carries_traffic: ClassVar[bool] = True
    """Whether a frozen program is a dead tunnel; false where a daemon carries what comes in."""
    holds_secrets: ClassVar[bool] = True
    """Whether `settings` may hold a secret; false where every secret is for another kind of use."""
    event_loops: ClassVar[Sequence[str]] = ("asyncio", "trio")
    """Those it works on; on any other, it has to say so."""
    patience: ClassVar[float] = 20.0
    """Seconds after which the kit calls something a hang."""
    settle: ClassVar[float] = 0.1
    """Seconds that something which must not happen is given to happen: it has no event."""

    waived: ClassVar[Mapping[str, str]] = {}
    """Names of tests that cannot hold for this backend, each with the reason."""

    @asynccontextmanager
    async def far_end(self) -> AsyncIterator[Mapping[str, Any]]:
        """Override it to start the other end; yields the settings that lead to it."""
        yield self.settings

    # --- what the tests stand on ----------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each asynchronous test on each event loop, whatever the author's conftest has."""
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
        """The program of the next connection; tests that need one are skipped without."""
        if not self.runs_program:
            pytest.skip("this backend runs no program")
        return program_stand_in

    @pytest.fixture
    def hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A program that is asked to end gets `GRACE` seconds; what follows is not altered."""
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
        """A connection, as core opens it."""
        async with self.far_end() as settings:
            config = kind(self.read(settings))
            with unwrap_group():
                async with self.backend.connect(config, self.target) as connection:
                    yield connection

    @asynccontextmanager
    async def in_time(self, what: str, stand_in: StandIn) -> AsyncIterator[None]:
        """Fail when the body takes too long, even when it is in a scope that nothing cancels."""
        late = False

        async def rescue() -> None:
            nonlocal late
            await anyio.sleep(self.patience)
            late = True
            stand_in.kill()  # who waits for the program's end in a shield, waits no longer
            tasks.cancel_scope.cancel()

        with unwrap_group():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(rescue)
                yield
                tasks.cancel_scope.cancel()
        if late:
            pytest.fail(f"{what} within {self.patience:g} s")

    def secrets(self) -> list[str]:
        """The secrets in `settings`; skips the test where there can be none."""
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
    """Whether none of its processes lives; one that was killed a moment ago may take a while."""
    with anyio.move_on_after(min(LINGER, patience)):
        while stand_in.is_running():
            await anyio.sleep(0.005)
    return not stand_in.is_running()


def say(*lines: str) -> list[Step]:
    return [("say", line) for line in lines]
