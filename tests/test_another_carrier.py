"""The guide's example of another carrier, read from the guide and run beside a real broker: NATS with JetStream."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ccwatch.feed.synthetic import messages
from tests.feed.servers import free_port

nats = pytest.importorskip("nats", reason="pip install nats-py")

GUIDE = Path(__file__).parents[1] / ".github" / "guide" / "scaling.md"


@pytest.fixture
def broker(tmp_path):
    if shutil.which("nats-server") is None:
        pytest.skip("no nats-server on the PATH (Debian: apt-get install nats-server)")
    started = Broker(tmp_path)
    started.start()
    yield started
    started.kill()


class Broker:
    """A nats-server on a port of its own that keeps its streams in a folder."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        self.url = f"nats://127.0.0.1:{self.port}"

    def start(self):
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self.process.poll() is None, "the nats-server ended"
                assert time.monotonic() < until
                time.sleep(0.05)
            else:
                return

    def kill(self):
        self.process.kill()
        self.process.wait()

    def publish(self, raws, *, keep=1000):
        """Add messages to the stream, which is made if it is not there and keeps so many."""

        async def work():
            client = await nats.connect(self.url)
            try:
                config = nats.js.api.StreamConfig(name="desk", subjects=["desk"], max_msgs=keep)
                names = [info.config.name for info in await client.jetstream().streams_info()]
                await (client.jetstream().update_stream if names else client.jetstream().add_stream)(config)
                for raw in raws:
                    await client.jetstream().publish("desk", raw)
            finally:
                await client.close()

        asyncio.run(work())


def test_the_guides_source_reads_a_real_broker_and_goes_on_after_it_was_killed(broker):
    source = messages(seed=4)
    sent = [next(source) for _ in range(30)]
    broker.publish(sent[:10])
    text = GUIDE.read_text(encoding="utf-8").partition("## Another carrier")[2].partition("```python\n")[2].partition("```")[0]
    made: dict[str, object] = {}
    exec(compile(text.replace("127.0.0.1:4222", f"127.0.0.1:{broker.port}"), str(GUIDE), "exec"), made)  # noqa: S102 - our own guide
    feed = made["feed"]
    try:
        feed.wait(10, timeout=60)
        got = []
        feed.on_packet(lambda packet: got.append(bytes(packet.raw)))
        broker.kill()
        broker.start()
        broker.publish(sent[10:20])
        feed.wait(20, timeout=60)
        assert feed.health().gaps == 0
        broker.kill()
        broker.start()
        broker.publish(sent[20:], keep=5)  # the first five of these are gone before anybody reads them, or not
        until = time.monotonic() + 60
        while (not got or got[-1] != sent[-1]) and time.monotonic() < until:
            time.sleep(0.05)
        assert got[:10] == sent[10:20]
        assert got[10:] == [raw for raw in sent[20:] if raw in got]
        gaps = feed.events()
        heard = gaps[gaps["detail"].str.contains("reason=missing")]["detail"].str.extract(r"messages=(\d+)")[0].astype(int).sum()
        assert heard + len(got) == 20
    finally:
        feed.stop()
