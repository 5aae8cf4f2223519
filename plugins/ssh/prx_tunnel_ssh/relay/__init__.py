"""An SSH server that does one thing: forward ports of its own to those who have a key.

settings.py   what it allows: ports, limits, the domain of its web sites
limits.py     counting, and rates
keys.py       who may come in, and who the relay is
guest.py      one SSH connection: what is granted, and what is not
tcp.py        a forwarded port
web.py        forwarded web sites, by host name
exchange.py   one HTTP request and its response
notice.py     the session that prints a URL and nothing else
server.py     all of it together
log.py        one line for each event
__main__.py   `python -m prx_tunnel_ssh.relay`
"""
