"""A stand-in for frpc 0.65: reads its file, writes its log, serves its status, forwards TCP.

`recordings/` holds what the real one wrote; test_frpc.py holds this one against it. There is no
frps: what it would say follows from the file (the token `wrong-token`, the port or domain `taken`).
Standard library only.
"""

import base64
import json
import os
import socket
import sys
import threading
import time
import tomllib
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

RUN_ID = os.urandom(8).hex()
SESSION = f"[{RUN_ID}] "


def log(level: str, where: str, text: str) -> None:
    now = datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    print(f"{now} [{level}] [{where}] {text}", flush=True)


class Frpc:
    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "rb") as file:
            self.config = tomllib.load(file)
        (self.proxy,) = self.config["proxies"]
        self.phase = {"status": "wait start", "err": "", "remote_addr": ""}

    def run(self) -> None:
        log("I", "sub/root.go:149", f"start frpc service for config file [{self.path}]")
        web = self.config["webServer"]
        try:
            server = HTTPServer((web["addr"], web["port"]), self.page())
        except OSError:
            self.stop(f"listen tcp {web['addr']}:{web['port']}: bind: address already in use", 159)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        log("I", "client/service.go:325", "try to connect to server...")
        log("I", "client/service.go:204", f"admin server listen on {web['addr']}:{web['port']}")
        self.log_in()
        self.start_proxy()
        while True:
            time.sleep(3600)

    def stop(self, reason: str, line: int = 167) -> None:
        log("I", f"sub/root.go:{line}", f"frpc service for config file [{self.path}] stopped")
        print(reason, flush=True)
        os._exit(1)

    def log_in(self) -> None:
        if self.config.get("auth", {}).get("token") == "wrong-token":
            error = "token in login doesn't match token from configuration"
            log("E", "client/service.go:310", error)
            log("W", "client/service.go:328", f"connect to server error: {error}")
            self.stop(
                f"login to the server failed: {error}. "
                "With loginFailExit enabled, no additional retries will be attempted"
            )
        success = f"login to server success, get run id [{RUN_ID}]"
        log("I", "client/service.go:317", SESSION + success)

    def start_proxy(self) -> None:
        name = self.proxy["name"]
        log("I", "proxy/proxy_manager.go:177", f"{SESSION}proxy added: [{name}]")
        error = self.refusal()
        if error:
            self.phase |= {"status": "start error", "err": error}
            log("W", "client/control.go:170", f"{SESSION}[{name}] start error: {error}")
            return
        self.phase |= {"status": "running", "remote_addr": self.listen()}
        log("I", "client/control.go:172", f"{SESSION}[{name}] start proxy success")

    def refusal(self) -> str:
        if self.proxy.get("customDomains") == ["taken.example.com"]:
            return "router config conflict"
        return "port already used" if self.proxy.get("remotePort") == 1 else ""

    def listen(self) -> str:
        if self.proxy["type"] == "http":
            return f"{self.proxy['customDomains'][0]}:80"
        listener = socket.create_server(("127.0.0.1", self.proxy["remotePort"]))
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()
        return f"{self.config['serverAddr']}:{listener.getsockname()[1]}"

    def accept(self, listener: socket.socket) -> None:
        while True:
            visitor, _ = listener.accept()
            try:
                app = socket.create_connection((self.proxy["localIP"], self.proxy["localPort"]))
            except OSError:
                visitor.close()
                continue
            for pair in ((visitor, app), (app, visitor)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    def page(self) -> type[BaseHTTPRequestHandler]:
        web = self.config["webServer"]
        login = base64.b64encode(f"{web['user']}:{web['password']}".encode()).decode()
        proxy, phase = self.proxy, self.phase

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.headers.get("Authorization") != f"Basic {login}":
                    self.send_response(401)
                    self.send_header("Www-Authenticate", 'Basic realm="Restricted"')
                    self.end_headers()
                    return
                log("I", "client/admin_api.go:168", "http request [/api/status]")
                known = {
                    "name": proxy["name"],
                    "type": proxy["type"],
                    "status": phase["status"],
                    "err": phase["err"],
                    "local_addr": f"{proxy['localIP']}:{proxy['localPort']}",
                    "plugin": "",
                    "remote_addr": phase["remote_addr"],
                }
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({proxy["type"]: [known]}).encode())
                log("I", "client/admin_api.go:170", "http response [/api/status]")

            def log_message(self, *_: object) -> None:
                """frpc logs requests in its own way."""

        return Page


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


if __name__ == "__main__":
    if "--version" in sys.argv:
        sys.exit(print("0.65.0"))
    Frpc(sys.argv[sys.argv.index("-c") + 1]).run()
