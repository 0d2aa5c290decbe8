"""A batch: the items of one receive, and their columns, made once for all that read them.

The feed makes one per receive. Readers of rows iterate over it; readers of columns (the buffer, alerts, the dashboard) ask
for them, and the first to ask makes them. Readers that gather several batches join them, so that small ones cost little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any, Final, overload

from ccwatch.protocol.columns import TABLES
from ccwatch.protocol.messages import UNCLEAN, Event, Item, Packet
from ccwatch.stream import dataframes

_PLACES: Final = {name: place for place, name in enumerate(Packet._fields)}
_UNCLEAN: Final = int(UNCLEAN)


class Batch(Sequence[Item]):
    """Items in the order of their arrival. May be read by any thread: columns that two of them make at once are equal."""

    __slots__ = ("_fields", "_items", "_packets", "_tables")

    def __init__(self, items: Sequence[Item]) -> None:
        """Hold items, which must not change any more."""
        self._items = items
        self._packets: Sequence[Packet] | None = None
        self._fields: list[Sequence[Any]] | None = None
        self._tables: dict[str, dataframes.Batch] = {}

    @classmethod
    def of(cls, items: Sequence[Item]) -> Batch:
        """Return items as a batch: themselves if they are one."""
        return items if isinstance(items, Batch) else cls(items)

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Return the items of batches, in order, as one batch: the only one, if there is only one."""
        return batches[0] if len(batches) == 1 else cls([item for batch in batches for item in batch])

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        return self._items[place]

    @property
    def packets(self) -> Sequence[Packet]:
        """Return its packets."""
        found = self._packets
        if found is None:
            found = self._packets = [item for item in self._items if isinstance(item, Packet)]
        return found

    @property
    def events(self) -> list[Event]:
        """Return its events."""
        return [item for item in self._items if isinstance(item, Event)] if len(self.packets) < len(self._items) else []

    def only_packets(self, after: int = -1, *, clean: bool = False) -> Batch:
        """Return the packets whose `seq` is beyond `after`, as a batch: this one, if it has nothing else.

        Args:
            after: a number of a packet of the same feed, whose numbers grow.
            clean: leave out repeats, replays and placeholders.
        """
        packets = self.packets
        is_whole = len(packets) == len(self._items) and (not packets or packets[0].seq > after)
        if is_whole and not (clean and any(flags & _UNCLEAN for flags in self.column("flags"))):
            return self
        return Batch([packet for packet in packets if packet.seq > after and not (clean and packet.flags & _UNCLEAN)])

    def column(self, field: str) -> Sequence[Any]:
        """Return one field of all packets."""
        fields = self._fields
        if fields is None:
            fields = self._fields = [*zip(*self.packets, strict=True)] or [()] * len(_PLACES)
        return fields[_PLACES[field]]

    def table(self, name: str) -> dataframes.Batch:
        """Return the rows of a table as columns, in the table's order, and when each was received; an empty list without rows."""
        found = self._tables.get(name)
        if found is None:
            found = self._tables[name] = self._made(name)
        return found

    def split(self) -> tuple[dataframes.Batch, dataframes.Batch]:
        """Return the rows of `packets` that are clean, and those that are not, each as `table` gives them."""
        rows = self.table("packets")
        is_unclean = [flags & _UNCLEAN for flags in self.column("flags")]
        if not any(is_unclean):
            return rows, []
        is_clean = [not flags for flags in is_unclean]
        return _kept(rows, is_clean), _kept(rows, is_unclean)

    def _made(self, name: str) -> dataframes.Batch:
        if name == "events":
            events = self.events
            return dataframes.event_batch(events) if events else []
        if name != "packets":
            rows, carried = dataframes.long_batch(name, self.packets), dataframes.rows_batch(name, self.events)
            return [[*ours, *more] for ours, more in zip(rows, carried, strict=True)] if rows and carried else rows or carried
        if not self.packets:
            return []
        columns = [self.column(column.field) for column in TABLES["packets"]]
        return [*dataframes.with_text_of_extra(columns), self.column("received_at_ns")]


def _kept(rows: dataframes.Batch, wanted: Sequence[object]) -> dataframes.Batch:
    return [[*compress(column, wanted)] for column in rows] if any(wanted) else []
