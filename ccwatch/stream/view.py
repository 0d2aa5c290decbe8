"""Views: what can be shown, judged and asked. Live ones deliver items, recorded ones are growing or finished.

A Feed is a LiveView, a Recording a RecordedView. What a view has is in its type: a reader that can do with less asks for a View.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ccwatch.protocol.messages import ConnectionState

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from ccwatch.protocol.messages import Event, Packet
    from ccwatch.stream.dataframes import Last
    from ccwatch.stream.source import Sink

OVER: Final = frozenset({ConnectionState.ENDED, ConnectionState.STOPPED})
"""The states of a live view that will deliver nothing any more."""


class View(Protocol):
    """The rows of one stream. Its frames have the columns that `protocol.columns` lists."""

    @property
    def origin(self) -> str:
        """Return where the stream came from: "live", "synthetic" or "replay"."""

    @property
    def virtual_clock(self) -> bool:
        """Return whether the stream's stamps do not keep pace with the receiver's clock."""

    def frame(self, columns: Sequence[str] | None = None, last: Last = None, *, clean: bool = True) -> pd.DataFrame:
        """Return the packets; clean ones sorted by time, or every row in order of arrival."""

    def agents(self, last: Last = None) -> pd.DataFrame:
        """Return the agents table."""

    def models(self, last: Last = None) -> pd.DataFrame:
        """Return the models table."""

    def logs(self, last: Last = None) -> pd.DataFrame:
        """Return the logs table."""

    def forecasts(self, last: Last = None) -> pd.DataFrame:
        """Return the forecasts table."""

    def events(self, last: Last = None) -> pd.DataFrame:
        """Return the events table."""


class Report(Protocol):
    """Counters of a view at one moment."""

    def to_dict(self) -> dict[str, Any]:
        """Return them by name."""


class LiveView(View):
    """A view that delivers new items as they arrive. A base class: in Python 3.11 a protocol would ask an object for each attribute."""

    name: str
    url: str

    @property
    @abstractmethod
    def state(self) -> ConnectionState:
        """Return the state of its connection."""

    @property
    @abstractmethod
    def latest(self) -> Packet | None:
        """Return its last packet."""

    @property
    @abstractmethod
    def error(self) -> Exception | None:
        """Return why it has no stream; None while it has one."""

    @property
    @abstractmethod
    def is_replay(self) -> bool:
        """Return whether its packets carry the times at which a recording received them."""

    @property
    @abstractmethod
    def takes_commands(self) -> bool:
        """Return whether commands can be given to its engine."""

    @abstractmethod
    def health(self) -> Report:
        """Return its counters and rates."""

    @abstractmethod
    def add_sink(self, sink: Sink, /) -> Callable[[], None]:
        """Deliver the items that arrive from now on to `sink`; return a function that removes it."""

    @abstractmethod
    def stop(self) -> None:
        """End the stream."""


class Marked(Protocol):
    """A user's note on a moment."""

    @property
    def time_ns(self) -> int:
        """Return the moment, ns since 1970 UTC."""

    @property
    def text(self) -> str:
        """Return the note."""


class RecordedView(View):
    """A view of a recording: growing while its status is "open", else finished."""

    path: Path

    @property
    @abstractmethod
    def status(self) -> str:
        """Return "open" while it is being written."""

    @property
    @abstractmethod
    def is_of_this_boot(self) -> bool:
        """Return whether it was recorded since this machine started."""

    @property
    @abstractmethod
    def marks(self) -> Sequence[Marked]:
        """Return the notes on its moments."""

    @abstractmethod
    def mark(self, time: datetime, text: str, /) -> object:
        """Note a moment."""

    @abstractmethod
    def info(self) -> Report:
        """Return its counters."""

    @abstractmethod
    def numbered(self, after: int = 0, /) -> Iterator[tuple[int, Packet | Event]]:
        """Yield number and item of each entry beyond `after`."""


def is_growing(view: View) -> bool:
    """Return whether a view is a recording in progress."""
    return isinstance(view, RecordedView) and view.status == "open"


def is_over(view: View) -> bool:
    """Return whether a view is live and will deliver nothing any more."""
    return isinstance(view, LiveView) and view.state in OVER


def name_of(view: View) -> str:
    """Return the url of a live view, or the path of a recorded one."""
    return view.url or view.name if isinstance(view, LiveView) else str(view.path) if isinstance(view, RecordedView) else ""


def report_of(view: View) -> dict[str, Any]:
    """Return the health of a live view, or the counters of a recorded one, by name."""
    report = view.health() if isinstance(view, LiveView) else view.info() if isinstance(view, RecordedView) else None
    return {} if report is None else dict(report.to_dict())
