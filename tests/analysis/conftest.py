from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from ccwatch.feed.synthetic import START, messages
from ccwatch.protocol.messages import Event, Instant, Packet
from ccwatch.protocol.stream_reader import StreamReader
from ccwatch.stream import dataframes
from ccwatch.stream.table_reader import TableReader

SECOND = 1_000_000_000
OPENED = Instant(1_800_000_000 * SECOND, 5 * SECOND)


@dataclass(frozen=True)
class Stream(TableReader):
    """What a Feed or a Recording is to an analysis, made of messages through the real session."""

    items: list
    origin: str = "synthetic"
    label: str = "a test"

    def frame(self, columns=None, _last=None, *, clean=True):
        packets = [item for item in self.items if isinstance(item, Packet)]
        names = dataframes.resolve("packets", columns)
        wanted = dataframes.needed(names, clean=clean, fill=False, symbol=None)
        return dataframes.tidy(dataframes.build("packets", dataframes.packet_columns(packets), wanted), clean=clean)[names]

    def _long(self, table, _last):
        return dataframes.build(table, dataframes.long_columns(table, [i for i in self.items if isinstance(i, Packet | Event)]))


def receive(raws, *, step_s=1e-4):
    """The items of a session that receives these messages as fast as a stream at pace "max" sends them."""
    session = StreamReader(virtual_clock=True)
    items = list(session.opened(OPENED))
    for n, raw in enumerate(raws):
        passed = round(n * step_s * SECOND)
        items += session.receive(raw, Instant(OPENED.wall_ns + passed, OPENED.mono_ns + passed))
    return items


@pytest.fixture(scope="session")
def stream():
    """A synthetic stream by seed, scenario, rate and count; each is made once."""
    made = {}

    def make(scenario="calm", *, seed=0, rate=1.0, count=400):
        key = (scenario, seed, rate, count)
        if key not in made:
            made[key] = Stream(receive(itertools.islice(messages(seed, scenario, rate), count)))
        return made[key]

    return make


@pytest.fixture
def at():
    """A time of the synthetic stream, from seconds since its first packet."""
    return lambda seconds: pd.Timestamp(START) + pd.Timedelta(seconds=seconds)


@pytest.fixture
def rows():
    """A frame of the user's: columns by name, one row a second from 2026-01-02 14:30 UTC (or `every` seconds, or at `times`)."""

    def make(*, every=1.0, times=None, **columns):
        count = len(next(iter(columns.values())))
        if times is None:
            times = np.arange(count) * every
        index = pd.Timestamp("2026-01-02T14:30:00Z").as_unit("ns") + pd.to_timedelta(np.asarray(times, dtype=float), unit="s")
        return pd.DataFrame(columns, index=pd.DatetimeIndex(index, name="time"))

    return make
