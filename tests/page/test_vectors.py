"""What Python and the page share: messages as the encoder packs them with what they hold, and numbers with their words.

`WRITE_PAGE_VECTORS=1 pytest tests/page/test_vectors.py` writes them after a change of the format; node --test reads them.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ccwatch.dashboard.page_messages import Encoder
from ccwatch.figures.panels import words_of
from tests.dashboard.conftest import Node, SteppedView, Tap

VECTORS = Path(__file__).with_name("vectors.json")
LOOKS = ({"unit": "USD", "digits": 2, "scale": 1.0}, {"unit": "%", "digits": 1, "scale": 100.0}, {"unit": "", "digits": 4, "scale": 1.0})
VALUES = (0.0, -0.0, 1234.5, -0.0217, -0.00001, 5.14674e-30, 1e9, 0.5, None)


def made() -> dict[str, Any]:
    """The vectors as this code makes them."""
    view = SteppedView(seed=3)
    view.step(40)
    encoder, tap = Encoder(view, panels=("price",)), Tap(view)
    messages = [encoder.full()]
    for packets in (1, 7, 2):
        view.step(packets)
        message = encoder.new(tap.take())
        assert message is not None
        messages.append(message)
    frame = view.frame()
    expected = {"time": frame.index.asi8 / 1e6, "price": frame["price"].to_numpy(), "nav": frame["nav"].to_numpy()}
    expected |= {"daily_pnl": frame["daily_pnl"].astype("float32").to_numpy(), "symbol": np.zeros(len(frame), dtype=np.uint8)}
    for message in messages:
        message.content.pop("figure", None)
    packed = [(message.content, [base64.b64encode(buffer).decode() for buffer in message.buffers]) for message in messages]
    return {
        "messages": [{"content": content, "buffers": buffers} for content, buffers in packed],
        "columns": {name: [float(value) for value in values] for name, values in expected.items()},
        "seq": encoder.last_seq,
        "marks": [mark for message in messages for mark in message.content.get("marks", [])],
        "numbers": [{"value": value, "look": look, "words": words_of(value, **look)} for look in LOOKS for value in VALUES],
    }


def test_the_vectors_are_what_this_code_makes() -> None:
    found = json.loads(json.dumps(made()))
    if "WRITE_PAGE_VECTORS" in os.environ:
        node = Node()
        page = node.page()
        for message in found["messages"]:
            node.say(page=page, **message)
        facts = node.say(page=page, ask=True)["facts"]
        node.stop()
        VECTORS.write_text(json.dumps(found | {"facts": facts}, ensure_ascii=False) + "\n", encoding="utf-8")
    known = json.loads(VECTORS.read_text(encoding="utf-8"))
    facts = known.pop("facts")
    assert found == known
    assert facts["price"] == found["columns"]["price"][-1]
    assert facts["first"] == found["columns"]["price"][0]
    assert facts["nav"] == found["columns"]["nav"][-1]
