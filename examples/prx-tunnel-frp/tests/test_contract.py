from pathlib import Path

import prx_tunnel_frp
from prx_tunnel_core.testing import BackendContract

FRPC = Path(__file__).with_name("frpc.py").read_text()


class TestHttp(BackendContract):
    plugin = prx_tunnel_frp
    stand_in = FRPC
    settings = {
        "server": "frp.example.com",
        "token": 'a "token" of {{ .Envs.HOME }}',
        "domain": "agent.example.com",
    }
    wrong_settings = {"server": "not a host", "server_port": "7000", "type": "udp", "https": 1}
    public_url = "http://agent.example.com"
