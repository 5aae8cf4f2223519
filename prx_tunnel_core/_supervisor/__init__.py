"""The life cycle of a tunnel, once for all backends. `Tunnel` in tunnel.py is its public side.

run.py             one start, until its end: connect, stay connected, reconnect, give up
connection.py      an open connection, checked
backoff.py         how long to wait, and when to give up
health_monitor.py  when health is checked, and when a connection is given up as unhealthy
suspend.py         a sleep that ends early when the machine resumes from suspend
observers.py       hooks and observers, which can neither alter, block nor break the tunnel
broadcast.py       publish the status to watchers without waiting for them
"""
