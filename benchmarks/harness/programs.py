"""The programs that stand in for cloudflared and ngrok: ready at once, as far as one can see.

    STANDIN_DELAY      seconds between the URL and the registration at the edge
    STANDIN_REGISTERED a file that takes the moment of registration (nanoseconds, monotonic)
    STANDIN_STUBBORN   TERM is ignored
    STANDIN_FLOOD      megabytes of lines that follow
    STANDIN_WRITTEN    a file that takes how many bytes of them were written, and when it was over
    STANDIN_LEAVES     it exits then

What a stand-in says is what the program itself says, in the same order: cloudflared shows the URL
and its metrics before the edge is registered; ngrok has its interface up before its session.
"""

from __future__ import annotations

import sys
from pathlib import Path

_COMMON = """
import os, signal, sys, time
get = os.environ.get
if get("STANDIN_STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

def say(fd, *lines):
    os.write(fd, "".join(line + "\\n" for line in lines).encode())

def registered():
    time.sleep(float(get("STANDIN_DELAY", "0")))
    if path := get("STANDIN_REGISTERED"):
        now = time.monotonic_ns()
        with open(path + ".new", "w") as file:
            file.write(str(now))
        os.rename(path + ".new", path)

def flood(fd):
    if not get("STANDIN_FLOOD"):
        return
    block = b"2026-01-02T03:04:05Z INF all work and no play makes a dull tunnel\\n" * 900
    total, written = int(get("STANDIN_FLOOD")) << 20, 0
    note = os.open(get("STANDIN_WRITTEN"), os.O_RDWR | os.O_CREAT)
    begun = time.monotonic_ns()
    while written < total:
        left = block
        while left:
            left = left[os.write(fd, left):]
        written += len(block)
        os.pwrite(note, b"%20d %20d %20d" % (written, begun, 0), 0)
    os.pwrite(note, b"%20d %20d %20d" % (written, begun, time.monotonic_ns()), 0)
    if get("STANDIN_LEAVES"):
        os._exit(0)
"""

_CLOUDFLARED = """
say(2, "2026-01-02T03:04:05Z INF |  https://p%d.trycloudflare.com  |" % os.getpid(),
    "2026-01-02T03:04:05Z INF Starting metrics server on 127.0.0.1:20241/metrics")
registered()
say(2, "2026-01-02T03:04:05Z INF Registered tunnel connection connIndex=0 location=fra08")
flood(2)
while True:
    signal.pause()
"""

_NGROK = """
import _socket, _thread
listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
listener.bind(("127.0.0.1", 0))
listener.listen(8)
port = listener.getsockname()[1]
url = "https://p%d.ngrok-free.app" % os.getpid()
line = 't=2026-01-02T03:04:05+0000 lvl=info msg="{}" obj={}'.format
say(1, line("starting web service", "web addr=127.0.0.1:%d" % port))
registered()
say(1, line("tunnel session started", "tunnels.session"),
    line("client session established", "csess id=0123456789ab"))
if "--none" not in sys.argv:
    say(1, line("started tunnel", "tunnels name=a addr=http://localhost:3000 url=" + url))

def serve():
    body = ('{"name": "a", "uri": "/api/tunnels/a", "public_url": "%s", "proto": "https", '
            '"config": {"addr": "http://localhost:3000", "inspect": true}, "metrics": {}}' % url)
    head = "HTTP/1.1 201 Created" + "\\r\\nContent-Type: application/json\\r\\nConnection: close"
    reply = "%s\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (head, len(body), body)
    health = reply.replace("201 Created", "200 OK").encode()
    while True:
        fd, _ = listener._accept()
        client = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, fd)
        asked = client.recv(65536)
        if asked.startswith(b"POST") and asked.endswith(b"\\r\\n\\r\\n"):
            client.recv(65536)
        client.sendall(reply.encode() if asked.startswith(b"POST") else health)
        client.close()

_thread.start_new_thread(serve, ())
flood(1)
while True:
    signal.pause()
"""

_PATIENT = """#!/bin/sh
echo "https://p$$.trycloudflare.com"
exec sleep 86400
"""


class Programs:
    """The stand-ins, written into a folder."""

    def __init__(self, folder: Path) -> None:
        shebang = f"#!{sys.executable} -IS\n"
        self.cloudflared = _write(folder / "cloudflared", shebang + _COMMON + _CLOUDFLARED)
        self.ngrok = _write(folder / "ngrok", shebang + _COMMON + _NGROK)
        self.patient = _write(folder / "patient", _PATIENT)
        """Small enough to run a thousand times."""


def _write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)
