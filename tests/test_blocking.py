# A status is a property: mypy believes that it stays what it was compared with.
# mypy: disable-error-code="comparison-overlap, exhaustive-match"

from __future__ import annotations

import threading
from typing import Any

import pytest

from prx_tunnel_core import Connected, SetupError, Stopped, blocking
from support.memory import FakeProber, Memory
from support.virtual import no_plugins


@pytest.fixture(params=["asyncio", "trio"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {
        "async_backend": request.param,
        "backend": Memory().backend(),
        "plugins": no_plugins(),
        "prober": FakeProber(),
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
