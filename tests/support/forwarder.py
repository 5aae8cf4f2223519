"""A small tunnel program: listens on a port of its own, forwards to the target, says where.

    forwarder.py HOST:PORT

Standard library only, so that it can be run with `-I -S` and starts fast.
"""

import asyncio
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main(host: str, port: int) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            local_reader, local_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, local_writer), pump(local_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    print(f"forwarding http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    target_host, _, target_port = sys.argv[1].rpartition(":")
    asyncio.run(main(target_host, int(target_port)))
