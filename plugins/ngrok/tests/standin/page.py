"""The agent's local page: its HTTP API, which refuses foreign host names and logs each request."""

from __future__ import annotations

import json
import signal
import socket
from typing import TYPE_CHECKING, Any, BinaryIO

from .words import log, some_id

if TYPE_CHECKING:
    from .agent import Agent

HOST = "abcd-203-0-113-7.ngrok-free.app"
Answer = tuple[int, dict[str, Any] | None]


def serve(agent: Agent, listener: socket.socket) -> None:
    # Signals are for the main thread, which would not wake for one that this thread took.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as stream:
            try:
                answer(agent, stream)
            except (OSError, ValueError):
                continue


def answer(agent: Agent, stream: Any) -> None:
    method, path, _ = stream.readline().decode().split()
    headers: dict[str, str] = {}
    while line := stream.readline().strip():
        key, _, value = line.decode().partition(":")
        headers[key.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    if headers.get("host", "").rpartition(":")[0] not in ("127.0.0.1", "localhost"):
        respond(stream, 401, f'Rejected host "{headers.get("host")}".'.encode())
        return
    request, path = some_id(16), path.partition("?")[0]
    log("info", "start", id=request, pg=path)
    status, found = api(agent, request, method, path, body)
    log("info", "end", dur="1.5ms", id=request, pg=path, status=status)
    respond(stream, status, b"" if found is None else json.dumps(found).encode())


def respond(stream: BinaryIO, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    stream.write(head.encode() + body)
    stream.flush()


def api(agent: Agent, request: str, method: str, path: str, body: bytes) -> Answer:
    if method == "POST" and path == "/api/tunnels":
        return start_tunnel(agent, request, body)
    if path.startswith("/api/tunnels/"):
        return one_tunnel(agent, request, method, path)
    pages: dict[str, dict[str, Any]] = {
        "/api": {"tunnels_uri": "/api/tunnels", "http_requests_uri": "/api/requests/http"},
        "/api/tunnels": {"tunnels": list(agent.tunnels.values()), "uri": path},
        "/api/requests/http": {"uri": path, "requests": []},
    }
    if not agent.v2:
        status = "online" if agent.connected else "reconnecting"
        version = agent.plan["version"]
        pages["/api/status"] = {"status": status, "agent_version": version, "uri": path}
        pages["/api/endpoints"] = {"endpoints": [], "uri": path}
    if path in pages:
        return 200, pages[path]
    log("warn", "Not Found", id=request, path=path, pg=path)
    return 404, {"status_code": 404, "msg": "Not Found", "details": {"path": path}}


def one_tunnel(agent: Agent, request: str, method: str, path: str) -> Answer:
    name = path.rpartition("/")[2]
    if name not in agent.tunnels:
        log("warn", "tunnel not found", id=request, name=name, pg=path)
        error = {"error_code": 100, "status_code": 404, "msg": "tunnel not found"}
        return 404, error | {"details": {"name": name}}
    if method != "DELETE":
        return 200, agent.tunnels[name]
    del agent.tunnels[name]
    return 204, None


def start_tunnel(agent: Agent, request: str, body: bytes) -> Answer:
    try:
        wanted = json.loads(body)
    except ValueError:
        msg = "failed to deserialize request parameter"
        return refused(request, {"status_code": 400, "msg": msg}, "unexpected EOF")
    if not agent.connected:
        msg = "ngrok is not yet ready to start tunnels"
        answer = {"error_code": 104, "status_code": 503, "msg": msg}
        why = "a successful ngrok tunnel session has not yet been established"
        return refused(request, answer, why)
    name = wanted["name"]
    if name == agent.plan.get("refused_name"):
        answer = {"error_code": 103, "status_code": 502, "msg": "failed to start tunnel"}
        return refused(request, answer, agent.refusal("334"))
    address, host = f"http://localhost:{wanted['addr']}", wanted.get("hostname", HOST)
    if not wanted.get("bind_tls"):
        agent.announce(f"{name} (http)", address, f"http://{host}")
    agent.announce(name, address, f"https://{host}")
    return 201, agent.tunnels[name]


def refused(request: str, answer: dict[str, Any], why: str) -> Answer:
    log("warn", answer["msg"], err=why, id=request, pg="/api/tunnels")
    return answer["status_code"], answer | {"details": {"err": why}}
