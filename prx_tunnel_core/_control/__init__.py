"""The control socket of a running tunnel: `serve` it beside the tunnel, `ask` it from elsewhere.

There is a Unix socket per tunnel name, in a directory that only its user can enter. A request is
one line,

    {"v": 1, "op": "status", "as": "text" | "json"}

and the reply is a line `prx-tunnel/1 <exit code>`, followed by the text to print until the end of
the stream. So the client of `prx tunnel status` needs no JSON, no pydantic and no event loop. While
an operation takes long, a line `prx-tunnel/1 wait` precedes the reply every second, which tells a
busy process from a suspended one. The word `ending` after the exit code announces that the process
itself is about to end.

operations     the table of operations with their handlers
runtime_dir    the directory of locks and sockets, and the names that tunnels can have
name_lock      the lock that lets one process serve a name, and its listening socket
client         sends one request; starts fast
async_client   the same for asynchronous code
server         answers requests
protocol       reads a request and writes a reply, for the server
render         the texts of the replies

Serving and asking need Unix; importing this package does not.
"""
