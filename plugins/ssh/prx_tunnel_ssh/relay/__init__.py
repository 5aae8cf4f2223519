"""An SSH server that does one thing: forward ports of its own to those who have a key.

settings.py     what it allows: ports, limits, the domain of its web sites
descriptors.py  limits that fit the open files of this process
algorithms.py   what it agrees on with a client, and which keys are strong enough
keys.py         who may come in, and who the relay is
authorized.py   the lines of authorized_keys
listening.py    accepting connections
limits.py       places and rates, by address or key
pool.py         a bounded number of members, shared fairly between groups
startups.py     connections that have not logged in yet
crowd.py        visitors, and which of them makes room
connection.py   one SSH connection: accepted signatures, bounded memory
guest.py        who it is, what is granted, and what is not
grants.py       its ports and web sites
openings.py     channels that it has been asked to open
tcp.py          a forwarded port
web.py          forwarded web sites, by host name
visit.py        one connection to them
exchange.py     one HTTP request and its response
channel.py      the channel through which it goes
notice.py       the session that prints a URL and nothing else
server.py       all of it together
log.py          one line for each event
__main__.py     `python -m prx_tunnel_ssh.relay`
"""
