"""Which tests `pytest` alone leaves out, and the signals that every run begins with.

`pytest` alone, or with `-k` or `--last-failed`, leaves the heavy tests out; `.ci/run` runs them
all. Tests, files and folders named on the command line run whatever their mark.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# What takes long for a good reason: real servers, hosts and terminals, 229 faults, thirty wrong
# backends, and whole lives of the providers' programs. What each rests on is in the default run.
HEAVY = (
    "plugins/cloudflare/tests/test_canary",
    "plugins/cloudflare/tests/test_connect",
    "plugins/cloudflare/tests/test_supervised",
    "plugins/ngrok/tests/test_real",
    "plugins/ngrok/tests/test_refusals",
    "plugins/ngrok/tests/test_secrets",
    "plugins/ngrok/tests/test_supervised",
    "plugins/ssh/tests/test_embedded_relay",
    "plugins/ssh/tests/test_openssh",
    "plugins/ssh/tests/test_relay_algorithms",
    "plugins/ssh/tests/test_relay_hoarding",
    "plugins/ssh/tests/test_relay_hostile",
    "plugins/ssh/tests/test_relay_process",
    "plugins/ssh/tests/test_relay_sites",
    "plugins/ssh/tests/test_ssh_announcement",
    "plugins/tailscale/tests/test_background",
    "plugins/tailscale/tests/test_foreground",
    "plugins/tailscale/tests/test_real",
    "plugins/tailscale/tests/test_supervised",
    "plugins/webhooks/tests/test_registration",
    "plugins/webhooks/tests/test_servers",
    "tests/cli/test_agent",
    "tests/cli/test_backends",
    "tests/cli/test_config",
    "tests/cli/test_demo",
    "tests/cli/test_detach",
    "tests/cli/test_doctor",
    "tests/cli/test_init",
    "tests/cli/test_leave_host",
    "tests/cli/test_nameless",
    "tests/cli/test_preflight",
    "tests/cli/test_query",
    "tests/cli/test_start",
    "tests/cli/test_terminal",
    "tests/control/test_hostile",
    "tests/control/test_name_lock",
    "tests/doctor/test_orphans",
    "tests/e2e/",
    "tests/faults/",
    "tests/hosts/",
    "tests/plugins/test_twenty",
    "tests/process/test_cancelling",
    "tests/process/test_guard",
    "tests/process/test_hosts",
    "tests/process/test_orphans",
    "tests/process/test_resources",
    "tests/test_bench",
    "tests/test_blocking",
    "tests/test_selection",
    "tests/test_supervisor_programs",
    "tests/test_version",
    "tests/testing/",
)

# Images of containers set it. The tests start hundreds of interpreters, and each would compile all
# that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# `nohup`, a shell's background job and some CI runners have them ignored. A program inherits that,
# so tests that send them to programs would wait for nothing. Runs before xdist starts its workers.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    # A worker of xdist is given the paths and the marks of the run that started it.
    if config.args_source is not config.ArgsSource.ARGS and not config.option.markexpr:
        config.option.markexpr = "not heavy"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # Not even imported: with the servers and frameworks that some of them import, that takes long.
    return True if config.option.markexpr == "not heavy" and is_heavy(collection_path) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_heavy(item.path):
            item.add_marker(pytest.mark.heavy)


def is_heavy(path: Path) -> bool:
    place = path.relative_to(HERE).as_posix() if path.is_relative_to(HERE) else ""
    return place.startswith(HEAVY) or path.name == "test_contract.py"
