# A status is a property: mypy believes that it stays what it was compared with.
# mypy: disable-error-code="comparison-overlap, exhaustive-match"

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from prx_tunnel_core import Connected, Failed, SetupError, Stopped, blocking
from support.memory import Memory
from support.proc import host
from support.virtual import isolate_hosts, no_plugins


@pytest.fixture(params=["asyncio", "trio"])
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    isolate_hosts(monkeypatch)
    return {
        "async_backend": request.param,
        "backend": Memory().backend(),
        "plugins": no_plugins(),
    }


def test_a_script_opens_a_tunnel(options: dict[str, Any]) -> None:
    with blocking.open_tunnel({"backend": "memory"}, **options) as tunnel:
        assert tunnel.info is not None
        assert tunnel.info.public_url == "https://agent.example.com"
        assert tunnel.health_check().verdict == "healthy"
        assert isinstance(tunnel.status, Connected)
    assert tunnel.status == Stopped()


def test_start_and_stop_again(options: dict[str, Any]) -> None:
    with blocking.tunnel({"backend": "memory"}, **options) as tunnel:
        for _ in range(3):
            tunnel.start()
            tunnel.stop()
            assert tunnel.info is None


def test_many_threads_use_one_tunnel(options: dict[str, Any]) -> None:
    seen = []
    with blocking.tunnel({"backend": "memory"}, **options) as tunnel:
        threads = [threading.Thread(target=lambda: seen.append(tunnel.start())) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(seen) == 20
    assert len(set(seen)) == 1


def test_changes_arrive_in_order_whatever_the_callback_raises(options: dict[str, Any]) -> None:
    seen: list[str] = []
    stopped = threading.Event()

    def callback(status: object) -> None:
        seen.append(type(status).__name__)
        if isinstance(status, Stopped):
            stopped.set()
        raise ZeroDivisionError

    with blocking.tunnel({"backend": "memory"}, **options) as tunnel:
        tunnel.on_change(callback)
        tunnel.start()
        tunnel.stop()
        assert stopped.wait(10)
    assert seen == ["Connecting", "Connected", "Stopped"]


def test_errors_arrive_as_they_are(options: dict[str, Any]) -> None:
    options["backend"] = Memory(errors=[SetupError("fix me")]).backend()
    with (
        pytest.raises(SetupError, match="fix me"),
        blocking.open_tunnel({"backend": "memory"}, **options),
    ):
        pytest.fail("it must not open")


def test_no_thread_is_left(options: dict[str, Any]) -> None:
    before = threading.active_count()
    with blocking.open_tunnel({"backend": "memory"}, **options):
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_a_callback_that_never_returns_delays_the_end_for_a_while_only(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "LAST_WORDS", 0.05)
    called, never = threading.Event(), threading.Event()

    def callback(status: object) -> None:
        called.set()
        never.wait()

    with blocking.open_tunnel({"backend": "memory"}, **options) as tunnel:
        tunnel.on_change(callback)
        tunnel.stop()
        assert called.wait(10)
    never.set()


def test_a_callback_may_use_the_tunnel(options: dict[str, Any]) -> None:
    stopped = threading.Event()
    with blocking.tunnel({"backend": "memory"}, **options) as tunnel:

        def callback(status: object) -> None:
            if isinstance(status, Connected):
                tunnel.stop()
                stopped.set()

        tunnel.on_change(callback)
        tunnel.start()
        assert stopped.wait(10)
        assert tunnel.status == Stopped()


def test_without_a_context_it_is_closed_by_hand(options: dict[str, Any]) -> None:
    before = threading.active_count()
    tunnel = blocking.start({"backend": "memory"}, **options)
    assert tunnel.info is not None
    with pytest.raises(RuntimeError, match="is open already"):
        tunnel.open()
    tunnel.close()
    tunnel.close()
    assert threading.active_count() <= before  # a thread of an earlier test may have ended
    with pytest.raises(RuntimeError, match="is not open"):
        tunnel.start()


def test_in_the_background_a_failure_is_a_status(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    options["backend"] = Memory(errors=[SetupError("fix me")]).backend()
    failed = threading.Event()
    with blocking.tunnel({"backend": "memory"}, **options) as tunnel:
        tunnel.on_change(lambda status: failed.set() if isinstance(status, Failed) else None)
        tunnel.start_soon()
        assert failed.wait(10)
        assert tunnel.status == Failed("fix me")
    assert "fix me" in caplog.text
    options["backend"] = Memory(delay=math.inf).backend()
    caplog.clear()
    blocking.start({"backend": "memory"}, wait=False, **options).close()
    assert "stopped" not in caplog.text  # that is no failure


def test_a_start_that_fails_leaves_no_thread(options: dict[str, Any]) -> None:
    before = threading.active_count()
    options["backend"] = Memory(errors=[SetupError("fix me")]).backend()
    with pytest.raises(SetupError, match="fix me"):
        blocking.start({"backend": "memory"}, **options)
    assert threading.active_count() <= before


IN_A_PROCESS = """
import math, os, signal, sys, threading
from prx_tunnel_core import blocking
from prx_tunnel_core.models import Connecting
from support.memory import FakeProber, Memory
from prx_tunnel_core import Tunnel
from prx_tunnel_core._supervisor.run import Seams
from support.virtual import no_plugins
Tunnel._seams = Seams(prober=lambda _: FakeProber())
provider = Memory()
options = {"backend": provider.backend(), "plugins": no_plugins(),
           "async_backend": sys.argv[1]}
"""
ENDINGS = {
    "a script that closes nothing": "blocking.start({'backend': 'memory'}, **options)",
    "that exits": "blocking.start({'backend': 'memory'}, **options); sys.exit(0)",
    "a context in a thread that is forgotten": """
def hold():
    with blocking.open_tunnel({'backend': 'memory'}, **options):
        up.set()
        threading.Event().wait()
up = threading.Event()
threading.Thread(target=hold, daemon=True).start()
up.wait()
""",
    "an interrupt while it connects": """
provider.delay = math.inf
def interrupt():
    while not provider.opening:
        pass
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
tunnel = blocking.tunnel({'backend': 'memory'}, **options)
with tunnel:
    try:
        tunnel.start()
    except KeyboardInterrupt:
        pass
    else:
        sys.exit('not interrupted')
    while provider.opening:
        pass  # nothing goes on connecting
""",
    "a fork that ends while its parent's tunnel is up": """
with blocking.open_tunnel({'backend': 'memory'}, **options) as tunnel:
    child = os.fork()
    if child == 0:
        try:
            tunnel.stop()
        except RuntimeError as error:
            assert 'our parent' in str(error)
            tunnel.close()
            sys.exit(7)  # through every `with`, and the interpreter's own end
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert tunnel.info is not None and provider.open
    assert tunnel.health_check().verdict == 'healthy'
""",
}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_end_of_a_process_hangs_or_leaves_it_open(backend: str, ending: str) -> None:
    said = "\nimport atexit; atexit.register(lambda: print(len(provider.open), flush=True))\n"
    code = IN_A_PROCESS + said + ENDINGS[ending]
    with host(
        code, backend, options=("-W", "error", "-W", "ignore::DeprecationWarning")
    ) as process:
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert output.split()[-1] == "0"
