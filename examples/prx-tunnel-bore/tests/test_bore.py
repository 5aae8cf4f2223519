import prx_tunnel_bore
from prx_tunnel_core.testing import BackendContract


class TestBore(BackendContract):
    plugin = prx_tunnel_bore
    wrong_settings = {"server": 7835}
    public_url = "http://bore.pub:41234"
    announces = [
        "INFO bore_cli::client: connected to server remote_port=41234",
        "INFO bore_cli::client: listening at bore.pub:41234",
    ]
