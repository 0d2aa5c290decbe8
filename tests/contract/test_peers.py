"""Foreign peers on the compressed wire, by the contract and by protocol 2: Node's `ws` and Chromium's WebSocket.

Python's `websockets` is that of `tests/cottage/test_compression.py` and `test_protocol_2.py`.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess

import pytest

from ccwatch.cottage import Cottage, Options
from ccwatch.feed.synthetic import SyntheticSource, messages
from ccwatch.protocol.wire import packing
from tests.browser.jupyter import browser, chromium_path

COUNT, RATE = 150, 200.0
HELLO = '{"type":"HELLO","ref":1,"want":{"encodings":["json"],"delta":false,"channels":["state"]}}'
LISTEN = """
const texts = [];
ws.onmessage = (event) => {
  texts.push(event.data);
  if (texts.length === 1 && HELLO) { ws.send(HELLO); }
  if (texts.length === COUNT) { done({ extensions: ws.extensions, texts }); }
};
"""


def script(url, hello, done):
    return f"const HELLO = {json.dumps(hello)}; const COUNT = {COUNT}; const done = {done}; const ws = new WebSocket('{url}');{LISTEN}"


def judge(said, hello):
    """What a peer was sent is the seeded stream, byte for byte, whichever protocol it asked for."""
    assert "permessage-deflate" in said["extensions"]
    welcome, *texts = said["texts"]
    assert json.loads(welcome)["type"] == "WELCOME"
    rebuilt, answers = [], 0
    for text in texts:
        message = json.loads(text)
        if message["type"] == "HELLO":
            answers += 1
        elif "ch" in message:
            rebuilt.append(b'{"type":"TELEMETRY","data":%b}' % text.partition('"data":')[2].encode()[:-1])
            assert packing.checksum(rebuilt[-1]) == message["crc"]
        else:
            rebuilt.append(text.encode())
    assert answers == bool(hello)
    wanted = list(itertools.islice(messages(3, "calm", RATE), 5_000))
    at = wanted.index(rebuilt[0])
    assert rebuilt == wanted[at : at + len(rebuilt)]


@pytest.mark.slow
@pytest.mark.node
@pytest.mark.parametrize("hello", ["", HELLO])
def test_nodes_ws_reads_the_compressed_stream_byte_for_byte(node, hello):
    with Cottage(SyntheticSource(seed=3, rate=RATE), Options()) as cottage:
        done = "(said) => { process.stdout.write(JSON.stringify(said), () => process.exit(0)); }"
        program = "globalThis.WebSocket = require('ws');\n" + script(cottage.url, hello, done)
        ran = subprocess.run(["node", "-e", program], env=node, capture_output=True, text=True, timeout=120, check=True)
    judge(json.loads(ran.stdout), hello)


@pytest.mark.browser
@pytest.mark.parametrize("hello", ["", HELLO])
def test_chromium_reads_the_compressed_stream_byte_for_byte(hello):
    if chromium_path() is None:
        if "browser" in os.environ.get("CCWATCH_REQUIRE", ""):
            pytest.fail("no chromium on the PATH")
        pytest.skip("no chromium on the PATH")
    with Cottage(SyntheticSource(seed=3, rate=RATE), Options()) as cottage, browser() as running:
        page = running.new_page()
        page.goto(cottage.url.replace("ws://", "http://") + "/page")  # any page of this machine
        said = page.evaluate(f"new Promise((done) => {{ {script(cottage.url, hello, 'done').replace('const done = done;', '')} }})")
    judge(said, hello)
