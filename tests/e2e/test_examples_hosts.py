"""The examples, as their readers run them: real processes, real providers, the embedded relay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.http_server import free_port

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(ROOT / "plugins" / "webhooks" / "tests"))

from webhook_kit import endpoints, github, telegram  # noqa: E402

PATIENCE = 30.0  # seconds; a good run takes a fraction of one
SECRET = "an-example-s-secret-canary"


class Example:
    """One example, running."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def stop(self) -> str:
        """Ask it to end, as a service manager does; gives all that it wrote."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=PATIENCE)
        return output


Start = Callable[..., Example]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def start(
        folder: str, *command: str, environ: Mapping[str, str], config: Path | None = None
    ) -> Example:
        port = free_port()
        words = [word.replace("{port}", str(port)) for word in command]
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *words],
            cwd=EXAMPLES / folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PRX_TUNNEL_RUNTIME_DIR": str(tmp_path / "runtime"),
                "PRX_CONFIG": str(config or EXAMPLES / folder / "config.toml"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "TUNNEL_BACKEND": "ssh",
                "PORT": str(port),
                **environ,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return Example(process, port)

    yield start
    for process in processes:
        with process:  # closes its pipe
            process.kill()


@contextmanager
def ending_well(example: Example, *secrets: str, code: int = 0) -> Iterator[list[str]]:
    """Afterwards it ends by itself when asked, with that code, and has told nobody a secret."""
    output: list[str] = []
    yield output
    output.append(example.stop())
    assert example.process.returncode == code, output
    assert "Traceback" not in output[0]
    for secret in secrets:
        assert secret not in output[0]


def test_fastapi_and_telegram(start: Start) -> None:
    with telegram.TelegramServer() as provider:
        environ = {
            "TELEGRAM_BOT_TOKEN": telegram.TOKEN,
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "TELEGRAM_API_URL": provider.url,
        }
        command = ("-m", "uvicorn", "app:app", "--port", "{port}", "--ws", "none")
        example = start("fastapi-telegram", *command, environ=environ)
        # uvicorn shuts down in order, and then dies of the signal as if it had not.
        with ending_well(example, SECRET, telegram.TOKEN, code=-signal.SIGTERM) as output:
            provider.wait_for(lambda: provider.webhook)
            assert provider.deliver("Grüße")[0] == 200
            assert provider.deliver("x", secret="wrong")[0] == 401
            told = {"method": "sendMessage", "chat_id": 42, "text": "You said: Grüße"}
            assert provider.sent == [told]
            url = provider.webhook["url"].removesuffix("/webhooks/telegram")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{url}/", timeout=PATIENCE) as answer:
                assert json.loads(answer.read()) == {"public_url": url}
        assert "Application shutdown complete" in output[0]
        assert provider.webhook == {}


def test_flask_and_github(start: Start) -> None:
    repository = "repos/example/agent"
    with github.GitHubServer() as provider:
        provider.hooks[repository] = {}
        environ = {
            "GITHUB_REPOSITORY": "example/agent",
            "GITHUB_TOKEN": github.TOKEN,
            "GITHUB_WEBHOOK_SECRET": SECRET,
            "GITHUB_API_URL": provider.url,
        }
        example = start("flask-github", "app.py", environ=environ)
        with ending_well(example, SECRET, github.TOKEN) as output:
            provider.wait_for(lambda: provider.hooks[repository])
            assert provider.deliver(repository, {"ref": "refs/heads/main"})[0] == 204
            assert provider.deliver(repository, {"ref": "x"}, secret="wrong")[0] == 401
        assert "push: refs/heads/main" in output[0]
        assert provider.hooks[repository] == {}


def test_a_bare_asyncio_agent(start: Start, tmp_path: Path) -> None:
    with endpoints.EndpointServer() as provider:
        text = (EXAMPLES / "asyncio-agent" / "config.toml").read_text()
        config = tmp_path / "config.toml"
        config.write_text(text.replace("https://api.example.com", provider.url))
        secret = endpoints.SIGNING_SECRET
        environ = {"API_KEY": endpoints.KEY, "WEBHOOK_SECRET": secret}
        example = start("asyncio-agent", "agent.py", environ=environ, config=config)
        with ending_well(example, secret, endpoints.KEY) as output:
            provider.wait_for(lambda: provider.endpoints)
            assert provider.deliver("agent", {"type": "invoice.paid"})[0] == 202
            url = provider.endpoints["agent"]
            request = urllib.request.Request(url, b"{}", method="POST")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with pytest.raises(urllib.request.HTTPError) as refused:
                opener.open(request, timeout=PATIENCE)
            assert refused.value.code == 401
            refused.value.close()
        assert "event: invoice.paid" in output[0]
        assert "refused: the header webhook-id is missing" in output[0]
        assert provider.endpoints == {}


@pytest.mark.parametrize("folder", ["fastapi-telegram", "flask-github", "asyncio-agent"])
def test_each_says_how_it_is_run(folder: str) -> None:
    text = (EXAMPLES / folder / "README.md").read_text(encoding="utf-8")
    config = (EXAMPLES / folder / "config.toml").read_text(encoding="utf-8")
    for name in ("TOKEN", "SECRET", "KEY", "REPOSITORY"):
        for variable in {
            word for word in config.replace("}", "{").split("{") if word.endswith(name)
        }:
            assert f"export {variable}=" in text
