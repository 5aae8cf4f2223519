"""The life cycle of a tunnel, once for all backends.

tunnel.py      what a host holds: start, stop, status, health_check, watch
lifecycle.py   from one start to its end: connect, stay connected, connect again, give up
attempt.py     one attempt: connect in bounded time, watch until it drops, close
backoff.py     how long to wait, and when to give up
checking.py    when health is looked at, and what follows from it
waking.py      sleep, but not longer than the machine itself
observing.py   hooks and observers, which can neither alter, block nor break the tunnel
watching.py    pass values on to whoever watches, without ever waiting for them
"""

from prx_tunnel_core.supervisor.tunnel import Tunnel, open_tunnel

__all__ = ["Tunnel", "open_tunnel"]
