"""anywidget's contract in a page of its own: our ES module, a model of thirty lines, and a socket to the Python that owns the widget."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import comm
import comm.base_comm
import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

import ccwatch as cw
from tests.browser.jupyter import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><meta charset="utf-8"><title>A bare host</title><link rel="stylesheet" href="/widget.css">
<body><div id="here"></div><script type="module">
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
class Model extends EventTarget {
  constructor(socket, state) { super(); this.socket = socket; this.state = state; this.changed = {}; this.heard = new Map(); }
  get(name) { return this.state[name]; }
  set(name, value) { this.state[name] = value; this.changed[name] = value; this.tell(`change:${name}`); }
  save_changes() { this.put({ method: "update", state: this.changed, buffer_paths: [] }); this.changed = {}; }
  send(content) { this.put({ method: "custom", content }); }
  put(data) { this.socket.send(JSON.stringify(data)); }
  on(name, callback) { this.heard.set(name, [...(this.heard.get(name) ?? []), callback]); }
  off(name, callback) { this.heard.set(name, (this.heard.get(name) ?? []).filter((one) => one !== callback)); }
  tell(name, ...parts) { for (const callback of this.heard.get(name) ?? []) callback(...parts); }
}
const widget = (await import("/widget.js")).default;
const { render } = typeof widget === "function" ? await widget() : widget;
const socket = new WebSocket(`ws://${location.host}/comm`);
let model;
socket.onmessage = ({ data }) => {
  const { method, state, content, buffers } = JSON.parse(data);
  if (method === "open") {
    window.model = model = new Model(socket, state);
    window.close_ = render({ model, el: document.getElementById("here") });
  } else if (method === "update") {
    for (const [name, value] of Object.entries(state)) { model.state[name] = value; model.tell(`change:${name}`); }
  }
  if (method === "custom") model.tell("msg:custom", content, buffers.map(bytes));
};
</script>"""


class Host:
    """The Python side of a bare host: hands out the page and the widget's module, and carries the widget's comm over a socket."""

    def __init__(self) -> None:
        self.socket: ServerConnection | None = None
        self.comm: HostedComm | None = None
        self.is_mute = False
        """What the widget sends is lost, as from a kernel that is gone."""
        self.esm = self.css = ""
        self.server: Server = serve(self._carry, "127.0.0.1", 0, process_request=self._hand_out, max_size=None, compression=None)
        self.url = f"http://127.0.0.1:{self.server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, name="bare-host")
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join(20)

    def _hand_out(self, _connection: ServerConnection, request: Request) -> Response | None:
        found = {"/": (PAGE, "text/html"), "/widget.js": (self.esm, "text/javascript"), "/widget.css": (self.css, "text/css")}
        if request.path == "/comm":
            return None
        text, kind = found.get(request.path, ("", "text/plain"))
        status = HTTPStatus.OK if request.path in found else HTTPStatus.NOT_FOUND
        headers = Headers({"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(text.encode())), "Connection": "close"})
        return Response(status.value, status.phrase, headers, text.encode())

    def _carry(self, socket: ServerConnection) -> None:
        hosted = self.comm
        assert hosted is not None
        socket.send(json.dumps({"method": "open", "state": hosted.state}))
        self.socket = socket
        for message in socket:
            hosted.handle_msg({"content": {"data": json.loads(message)}, "buffers": []})


class HostedComm(comm.base_comm.BaseComm):
    """A comm whose messages go over the host's socket; it keeps the state that it was opened with."""

    host: Host

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:
        del metadata
        if msg_type == "comm_open":
            self.state = data["state"]
            self.host.comm = self
        elif msg_type == "comm_msg" and self.host.socket is not None and not self.host.is_mute:
            texts = [base64.b64encode(bytes(one)).decode() for one in buffers or ()]
            try:
                self.host.socket.send(json.dumps(data | {"buffers": texts}))
            except ConnectionClosed:
                self.host.socket = None


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    running = Host()
    kind = type("Comm", (HostedComm,), {"host": running})
    monkeypatch.setattr(comm, "create_comm", kind)
    try:
        yield running
    finally:
        running.close()


def test_a_bare_page_draws_goes_on_works_and_lets_go(chromium: Browser, host: Host) -> None:
    with cw.synthetic(seed=2, rate=10) as feed, cw.watch(feed) as shown, chromium.new_context() as context:
        assert shown.model_id
        host.esm, host.css = str(shown._esm), str(shown._css)  # what every host of anywidgets reads
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE_S)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(host.url)
        look = "document.querySelector('.ccwatch-live-figure')?.ccwatch"
        page.wait_for_function(f"() => {look}?.draws > 3 && {look}.lastSeq > 20")
        page.get_by_text("SYNTHETIC").first.wait_for()
        host.is_mute = True
        gone = page.locator(".ccw-gone-words")
        page.evaluate("() => window.model.tell('comm_live_update')")  # as JupyterLab's model says it at a restart
        gone.get_by_text("The kernel was restarted").wait_for()
        host.is_mute = False
        gone.wait_for(state="hidden")
        host.is_mute = True
        page.evaluate("() => { const now = performance.now.bind(performance); performance.now = () => now() + 30_000 }")
        gone.get_by_text("Nothing has come from the kernel for").wait_for()
        page.locator('.ccw-header [data-ccw="state"]').get_by_text("kernel gone").wait_for()
        host.is_mute = False
        gone.wait_for(state="hidden")
        page.get_by_role("button", name="Pause").click()
        page.get_by_text("charts paused").wait_for()
        assert shown.is_paused
        page.locator(".ccw-plot").first.focus()
        page.keyboard.press("+")
        wait_until(lambda: page.wait_for_timeout(50) or shown.zoom, PATIENCE_S, "the zoom, in Python")
        page.evaluate("() => window.close_()")
        wait_until(lambda: page.wait_for_timeout(50) or not shown._pages, PATIENCE_S, "the page to be let go")
        assert errors == []
