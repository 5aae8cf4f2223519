"""The life cycle of a tunnel, once for all backends. `Tunnel` in tunnel.py is its façade.

run.py             from one start to its end: connect, stay connected, connect again, give up
attempt.py         one attempt: connect in bounded time, watch until it drops, close
backoff.py         how long to wait, and when to give up
health_monitor.py  when health is checked, and what follows from it
suspend.py         sleep, but not longer than the machine itself
observers.py       hooks and observers, which can neither alter, block nor break the tunnel
broadcast.py       pass values on to watchers without ever waiting for them
"""
