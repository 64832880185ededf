"""A relay on loopback that brings each answer some milliseconds late, as a store elsewhere does.

    python bench/delay.py UPSTREAM_PORT MILLISECONDS      prints the port that it listens on

Bytes go through as they are, in both directions, over one connection for each that comes in. What
comes back waits; requests do not, so many on their way at a time are late together.
"""

import asyncio
import contextlib
import sys

__all__ = ["serve"]

_PIECE = 256 * 1024


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await source.read(_PIECE):
            sink.write(piece)
            await sink.drain()
    sink.close()


async def _bring_late(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, seconds: float
) -> None:
    now = asyncio.get_running_loop().time
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def bring() -> None:
        while True:
            due, piece = await waiting.get()
            await asyncio.sleep(due - now())
            if not piece:
                break
            sink.write(piece)
            await sink.drain()
        sink.close()

    bringing = asyncio.create_task(bring())
    piece = b"-"
    while piece:
        with contextlib.suppress(ConnectionError):
            piece = await source.read(_PIECE)
        waiting.put_nowait((now() + seconds, piece))
    with contextlib.suppress(ConnectionError):
        await bringing


async def serve(upstream: int, seconds: float) -> None:
    """Listen on a free port, print it, and relay without end."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", upstream)
        await asyncio.gather(_forward(reader, here), _bring_late(there, writer, seconds))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
