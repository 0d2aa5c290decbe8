"""`python tests/benchmarks/cottage_servers.py ours|litestar FILE`: prints its port and, told to go, sends the file's lines to all.

Node's is the string NODE, with the package `ws`. All send the same packets at the same rate to whoever is connected.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

RATE: Final = 140.0
"""With 500 clients 70,000 sends a second: near what one core bears of the slowest of them, so that capacities are compared, not idling."""
NODE: Final = """
const { WebSocketServer } = require("ws");
const lines = require("fs").readFileSync(process.argv[2], "utf8").trimEnd().split("\\n");
const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
server.on("listening", () => console.log(server.address().port));
process.stdin.once("data", () => {
  let n = 0;
  const timer = setInterval(() => {
    for (const client of server.clients) client.send(lines[n]);
    if (++n === lines.length) clearInterval(timer);
  }, 1000 / %g);
});
"""


class Lines:
    """The file's lines as a source, once told to go."""

    def __init__(self, lines: list[bytes]) -> None:
        from ccwatch.protocol.stream_reader import StreamReader  # noqa: PLC0415 - each server loads only its own
        from ccwatch.stream.source import read_clock  # noqa: PLC0415 - each server loads only its own

        session = StreamReader()
        self._opened = session.opened(read_clock())
        # Read beforehand: the others are not told what they send, either.
        self._packets = [session.receive(line, read_clock()) for line in lines]

    def stream(self, sink, stop):
        sink.receive(self._opened)
        sys.stdin.readline()
        begun = time.monotonic()
        for n, items in enumerate(self._packets):
            if stop.wait(begun + n / RATE - time.monotonic()):
                return
            sink.receive(items)


def ours(lines: list[bytes]) -> None:
    from ccwatch.cottage import AccessRules, Cottage, Options  # noqa: PLC0415 - each server loads only its own

    with Cottage(Lines(lines), Options(access=AccessRules(per_ip=None))) as cottage:
        print(cottage.engine_url.split(":")[2].split("/")[0], flush=True)
        time.sleep(600)


def litestar(lines: list[bytes]) -> None:
    """A queue per client, as Litestar's documentation has it for many listeners."""
    import uvicorn  # noqa: PLC0415 - each server loads only its own
    from litestar import Litestar, WebSocket, websocket  # noqa: PLC0415 - each server loads only its own

    queues: set[asyncio.Queue[str]] = set()
    texts = [line.decode() for line in lines]
    tasks = set()

    @websocket("/ws/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        queue: asyncio.Queue[str] = asyncio.Queue()
        queues.add(queue)
        try:
            while True:
                await socket.send_text(await queue.get())
        finally:
            queues.discard(queue)

    async def publish() -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, sys.stdin.readline)
        begun = loop.time()
        for n, text in enumerate(texts):
            await asyncio.sleep(max(0.0, begun + n / RATE - loop.time()))
            for queue in queues:
                queue.put_nowait(text)

    async def begin() -> None:
        tasks.add(asyncio.create_task(publish()))

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)

    app = Litestar([stream], on_startup=[begin], openapi_config=None)
    Server(uvicorn.Config(app, port=0, log_level="critical", ws_per_message_deflate=False, ws_ping_interval=None)).run()


if __name__ == "__main__":
    {"ours": ours, "litestar": litestar}[sys.argv[1]](Path(sys.argv[2]).read_bytes().splitlines())
