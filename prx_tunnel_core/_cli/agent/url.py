"""The file in which an agent finds its public URL, always the current one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from prx_tunnel_core._control import runtime_dir
from prx_tunnel_core._hosting import HostTunnel
from prx_tunnel_core.errors import SetupError
from prx_tunnel_core.process import private_folder

URL_VARIABLE = "PRX_TUNNEL_PUBLIC_URL"
FILE_VARIABLE = "PRX_TUNNEL_PUBLIC_URL_FILE"

REFRESH = 600.0  # seconds; temporary files that nobody touches for hours may be cleaned away


class UrlFile:
    """Holds the URL and a line end while the tunnel is connected, and nothing while it is not."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "public-url")
        self._url = ""
        self.write("")

    def write(self, url: str) -> None:
        """Replace it as a whole: whoever reads sees the old or the new URL, never half of one."""
        self._url = url
        beside = f"{self.path}.new"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{url}\n" if url else "")
        os.replace(beside, self.path)

    async def follow(self, tunnel: HostTunnel) -> None:
        statuses = tunnel.watch()
        self.write(_url_of(tunnel))
        while True:
            with anyio.move_on_after(REFRESH) as idle:
                if await anext(statuses, None) is None:
                    return
            url = _url_of(tunnel)
            if url != self._url or idle.cancelled_caught:
                self.write(url)


def _url_of(tunnel: HostTunnel) -> str:
    return tunnel.info.public_url if tunnel.info is not None else ""


@contextmanager
def url_file() -> Iterator[UrlFile]:
    """A file in a folder that only this user can enter; removed at the end."""
    with private_folder(parent=_runtime_directory()) as folder:
        yield UrlFile(folder)


def _runtime_directory() -> str | None:
    """None where it cannot be trusted: the tunnel says why, and the agent runs all the same."""
    try:
        path = runtime_dir.runtime_path()
        os.close(runtime_dir.open_directory(path, create=True))
    except SetupError:
        return None
    return path
