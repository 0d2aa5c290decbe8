"""Clients that are not ours, as they are usually written: aiohttp, and the contract's JavaScript in a page of a real Chromium.

Node's `ws`, `wscat`, websocket-client and `websockets` are those of `tests/contract/test_examples.py` and of the other tests here.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import aiohttp
import pytest

from ccwatch.cottage import Cottage
from ccwatch.cottage.access import AccessRules
from ccwatch.cottage.cottage_options import Options
from ccwatch.feed.synthetic import SyntheticSource
from tests.browser.jupyter import browser, chromium_path
from tests.contract.contract import fences
from tests.cottage.test_cottage import first


def test_an_aiohttp_client_gets_welcome_and_every_message_byte_for_byte():
    async def watch(url):
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as client:
            welcome = await client.receive_json(timeout=5)
            return welcome["type"], [(await client.receive_str(timeout=5)).encode() for _ in range(100)]

    source = SyntheticSource(seed=7, packets=100, pace="max")
    with Cottage(source, Options(virtual_clock=True, start_on_first_client=True)) as cottage, ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, watch(cottage.url)).result() == ("WELCOME", first(100, seed=7))


NO_CHROMIUM = "no chromium on the PATH (Debian: apt-get install chromium)"


class Page(BaseHTTPRequestHandler):
    """The contract's JavaScript, in a page."""

    script = ""

    def do_GET(self):
        body = f"<script>const shown = [];\nfunction updateDashboard(data) {{ shown.push(data); }}\n{self.script}</script>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.browser
@pytest.mark.parametrize(
    ("host", "origins", "served"), [("127.0.0.1", (), True), ("foreign.localhost", (), False), ("foreign.localhost", ("*",), True)]
)
def test_the_contracts_javascript_in_a_page_of_chromium_is_served_where_its_origin_may(host, origins, served):
    if chromium_path() is None:
        if "browser" in os.environ.get("CCWATCH_REQUIRE", ""):
            pytest.fail(NO_CHROMIUM)
        pytest.skip(NO_CHROMIUM)
    (printed,) = fences("8.1", "javascript")
    with Cottage(SyntheticSource(rate=50.0), Options(access=AccessRules(origins=origins))) as cottage:
        handler = type("Contract", (Page,), {"script": printed.replace("localhost:3000", f"127.0.0.1:{urlsplit(cottage.url).port}")})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
            thread = threading.Thread(target=web.serve_forever, args=(0.02,))
            thread.start()
            try:
                with browser() as running:
                    page = running.new_page()
                    page.goto(f"http://{host}:{web.server_port}/")
                    if served:
                        page.wait_for_function("shown.length >= 20", timeout=20_000)
                        seen = json.loads(page.evaluate("JSON.stringify(shown)"))
                        assert {state["market"]["symbol"] for state in seen} == {"SPY"}
                    else:
                        page.wait_for_function("ws.readyState === WebSocket.CLOSED", timeout=20_000)
                        assert page.evaluate("shown.length") == 0
            finally:
                web.shutdown()
                thread.join()
