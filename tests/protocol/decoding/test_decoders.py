"""The one door: whichever decoder reads a message, the answer is the same."""

from __future__ import annotations

from itertools import islice

import pytest

from ccwatch.errors import DecodeError
from ccwatch.feed.synthetic import messages
from ccwatch.protocol.decoding import codec
from ccwatch.protocol.decoding.decoders import decoder_for
from ccwatch.protocol.decoding.layout import Layouts
from tests.protocol.shapes import NOW, SHAPES

RAWS = [*islice(messages(seed=1), 40)]


def test_the_decoder_of_a_layout_and_that_of_any_layout_agree():
    layout = Layouts().of(RAWS[-1])
    mixed = [*RAWS, *[codec.dumps(message) for group in SHAPES.values() for message in group], b"{", b"[1]"]
    fast = decoder_for(layout).columns(mixed)
    taken = [raw for place, raw in enumerate(mixed) if place not in set(fast.refused)]
    slow = decoder_for().columns(taken)
    assert (slow.refused, len(taken) > 20) == ([], True)
    assert fast.logs == slow.logs
    for name, column in fast.packets.items():
        assert column == slow.packets[name], name
    for table, metrics in fast.metrics.items():
        assert metrics.names * len(taken) == slow.metrics[table].names
        assert [*metrics.gauges] == [*slow.metrics[table].gauges]
        assert {*slow.metrics[table].counts} == {len(metrics.names)}


@pytest.mark.parametrize("layout", [None, Layouts().of(RAWS[-1])])
def test_a_single_message_is_its_packet_whatever_the_layout(layout):
    for raw in (RAWS[0], codec.dumps(SHAPES["pipeline"][0])):
        assert decoder_for(layout).packet(raw, seq=3, connection=2, now=NOW) == codec.decode(raw, seq=3, connection=2, now=NOW)
    with pytest.raises(DecodeError):
        decoder_for(layout).packet(b"{}")


def test_a_decoder_is_made_once_and_what_cannot_be_read_is_named():
    layout = Layouts().of(RAWS[0])
    assert decoder_for(layout) is decoder_for(layout)
    assert decoder_for(None) is decoder_for(None)
    assert decoder_for().columns([b"{}", RAWS[0], b"x"]).refused == [0, 2]
