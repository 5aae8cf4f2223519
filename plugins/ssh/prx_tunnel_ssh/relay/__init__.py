"""An SSH server that only forwards its ports to clients with an authorized key.

settings.py      ports, limits, the domain of the web sites
descriptors.py   limits that fit the open files of this process
algorithms.py    the algorithms that a client may use, and which keys are strong enough
keys.py          the keys that may log in, and the key of the relay
authorized.py    the lines of authorized_keys
listening.py     accepting connections
limits.py        places and rates, by address or key
pool.py          a bounded number of members, shared fairly between groups
startups.py      SSH connections that have not logged in yet
crowd.py         visitors, and which of them makes room for another
connection.py    an SSH connection with accepted signatures and bounded buffers
guest.py         its authentication, and the requests that are granted
grants.py        its ports and web sites
openings.py      the channels that are being opened to it
tunnel.py        what ports and web sites have in common
tcp.py           a forwarded port
web.py           forwarded web sites, by host name
visit.py         one connection to a web site
exchange.py      one HTTP request and its response
channel.py       the SSH channel of an exchange; long transfers take turns
notice.py        the session that prints the URL
tunnel_table.py  the ports and web sites that are taken
state.py         the state that the connections share
server.py        the relay that accepts them
log.py           one line for each event
__main__.py      `python -m prx_tunnel_ssh.relay`
"""
