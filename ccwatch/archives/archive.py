"""Archive: the sessions of a folder or of an object store, and the questions that can be asked of all of them at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ccwatch.archives import sessions as chosen
from ccwatch.archives.archive_card import card
from ccwatch.archives.executors import Progress
from ccwatch.archives.locations import is_remote
from ccwatch.archives.sessions import Session
from ccwatch.config import user_path
from ccwatch.errors import ConfigError, RecordingNotFound
from ccwatch.recording import catalog, notes

if TYPE_CHECKING:
    from ccwatch.analysis import Result
    from ccwatch.analysis.first_sign import FirstSign
    from ccwatch.archives.performance import Performance
    from ccwatch.archives.publish import Published
    from ccwatch.archives.rule_choice import Choice
    from ccwatch.archives.similar import Similar
    from ccwatch.archives.worst_drawdowns import WorstDrawdowns


class Archive:
    """Many recordings, asked as one. Frozen: it holds the sessions that existed when it was made; `refresh` looks again."""

    def __init__(
        self,
        place: str | Path,
        *,
        must_exist: bool = True,
        kept: tuple[Any, pd.DataFrame] | None = None,
        unjudged: Mapping[str, str] | None = None,
    ) -> None:
        """List the sessions.

        Args:
            place: a folder of recordings, or the url of one in an object store, such as s3://BUCKET/FOLDER.
            must_exist: whether an absent folder is an error; otherwise it is an empty archive.
            kept: the catalog's table and frame, where they are known already; for internal use.
            unjudged: by session that cannot be read, why it is not known whether it belongs here; for internal use.

        Raises:
            RecordingNotFound: no such folder.
            RecordingError: the object store does not answer.
        """
        self.place: str | Path = place if is_remote(place) else user_path(place).absolute()  # workers may run in another folder
        if isinstance(self.place, Path) and must_exist and not self.place.is_dir():
            raise RecordingNotFound(f"{self.place} is no folder: name one that holds recordings, or none for the default one")
        self._table, self._frame = kept if kept is not None else _listed(self.place)
        self._unjudged = dict(unjudged or {})

    def __repr__(self) -> str:
        return f"<Archive {self.place} {len(self)} sessions>"

    def __len__(self) -> int:
        return len(self._frame)

    def _repr_html_(self) -> str:
        return card(self._frame, self._table["curve"].to_pylist(), title=str(self.place))

    @property
    def sessions(self) -> pd.DataFrame:
        """Return one row per session, by name, as a copy that may be edited.

        Index `session`; start, end (datetime64[ns, UTC]), status (open, finished, killed, "unreadable: why"), origin, symbols, packets,
        nav_change (USD), max_drawdown (fraction ≤ 0), halts, gaps, damaged, tags, note, bytes, url, path.
        """
        return self._frame.copy()

    def filter(
        self,
        *,
        start: Any = None,
        end: Any = None,
        symbol: str | None = None,
        origin: str | None = None,
        tag: str | None = None,
        status: str | None = None,
        where: Any = None,
    ) -> Archive:
        """Return the archive of the sessions that meet all the conditions given.

        A session that cannot be read at all may meet them or not: answers of the archive name it as left out.

        Args:
            start: only sessions that end at this time or later; text without a zone is UTC.
            end: only those that begin at this time or before; a date alone is its whole day.
            symbol: only those that hold this symbol.
            origin: only those of this origin: "live", "synthetic" or "replay".
            tag: only those with this tag.
            status: only those whose status begins with this text.
            where: names of sessions, a bool per session, or a function that takes `sessions` and returns either.

        Raises:
            ConfigError: `start` or `end` is no time, or `where` is none of these.
        """
        kept = chosen.matching(self._frame, start=start, end=end, symbol=symbol, origin=origin, tag=tag, status=status, where=where)
        unjudged = self._unjudged | chosen.unjudged(self._frame, kept, status=status, where=where)
        return Archive(self.place, must_exist=False, kept=(self._table.take(np.flatnonzero(kept)), self._frame[kept]), unjudged=unjudged)

    def refresh(self) -> Archive:
        """Return the archive of the sessions that exist now, unfiltered."""
        return Archive(self.place)

    # ── notes ──

    def tag(self, session: str, *tags: str, author: str | None = None) -> Archive:
        """Add tags to a session and return the archive with them; they are kept beside the recordings, in a file per author.

        Args:
            session: the session's name.
            tags: words.
            author: the author's name; None is the login name.

        Raises:
            ConfigError: no such session, or no tag.
            RecordingError: the folder cannot be written.
        """
        return self._noted(session, [("tag", word) for word in tags], author)

    def untag(self, session: str, *tags: str, author: str | None = None) -> Archive:
        """Take tags from a session and return the archive, see `tag`; the recording's own tags are hidden, not deleted."""
        return self._noted(session, [("untag", word) for word in tags], author)

    def note(self, session: str, text: str, *, author: str | None = None) -> Archive:
        """Write a note about a session and return the archive, see `tag`; the newest is shown, all are in `notes`."""
        return self._noted(session, [("note", text)], author)

    @property
    def notes(self) -> pd.DataFrame:
        """Return every tag and note that was added, oldest first.

        Columns: time (datetime64[ns, UTC]), session, author, kind (tag, untag, note), text.
        """
        found = notes.read(self.place) if isinstance(self.place, Path) else []
        frame = pd.DataFrame(
            [(pd.Timestamp(note.time_ns, unit="ns", tz="UTC"), note.session, note.author, note.kind, note.text) for note in found],
            columns=["time", "session", "author", "kind", "text"],
        )
        return frame.astype({"time": "datetime64[ns, UTC]", **dict.fromkeys(("session", "author", "kind", "text"), "str")})

    def _noted(self, session: str, words: Sequence[tuple[Literal["tag", "untag", "note"], str]], author: str | None) -> Archive:
        if not isinstance(self.place, Path):
            raise ConfigError("notes are kept in a folder: pull the sessions first")
        if session not in self._frame.index:
            raise ConfigError(f"session={session!r}: the archive holds no such session")
        if not words:
            raise ConfigError("expected at least one tag")
        who = author if author is not None else notes.this_author()
        notes.append(self.place, [notes.Note(session, time.time_ns(), who, kind, text) for kind, text in words])
        return Archive(self.place, must_exist=False, kept=(self._table, catalog.frame_of(self._table, self.place)), unjudged=self._unjudged)

    # ── questions ──

    def ask(
        self,
        question: str | Callable[..., Result],
        by: str | None = None,
        executor: Any = None,
        *,
        on_progress: Progress | None = None,
        cancel: threading.Event | None = None,
        **options: Any,
    ) -> Any:
        """Ask all sessions one of the questions of `cw.analyze`, or one of your own.

        Args:
            question: the name of a method of the Report, such as "governance" or "latency"; or a function, as for `Report.ask`, whose
                answers have a `merge`. Other processes and machines have to be able to import it.
            by: how to group the answers: None, "session", "day", "week", "month" (UTC), "symbol", "regime" or "tag".
            executor: None or "threads", "processes", any `concurrent.futures.Executor`, or a Dask `Client`: the answer is the same.
            on_progress: called with the count of tasks that are done and the count of all.
            cancel: ends the question when another thread sets it.
            options: the arguments of the Report's method.

        Returns:
            Without `by` that question's Result; with `by` a DataFrame of the rows of each group's answer, indexed by group: text, or
            the first day of the period. Sessions that cannot be read are left out, and named in the notes or in `.attrs["left_out"]`.

        Raises:
            ConfigError: no such question, group or executor.
            AnalysisError: no session answers, or the question's answers do not merge over several streams.
            Cancelled: `cancel` was set.
        """
        from ccwatch.archives.ask import ask  # noqa: PLC0415 - scipy and plotly take a second to import

        asked, left = self._asked()
        return ask(asked, question, by, executor, left_out=left, on_progress=on_progress, cancel=cancel, **options)

    def worst_drawdowns(
        self, n: int = 20, executor: Any = None, *, on_progress: Progress | None = None, cancel: threading.Event | None = None
    ) -> WorstDrawdowns:
        """Return the n deepest drawdowns of all sessions, each below the peak of its own session.

        Raises:
            ConfigError: `n` is no whole number above 0.
            NotEnoughData: no session carries nav or price.
        """
        from ccwatch.archives.worst_drawdowns import worst_drawdowns  # noqa: PLC0415 - as above

        asked, left = self._asked()
        return worst_drawdowns(asked, n, executor, left_out=left, on_progress=on_progress, cancel=cancel)

    def performance(
        self,
        by: str = "day",
        executor: Any = None,
        *,
        on_progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Performance:
        """Return equity, returns, Sharpe, Sortino, drawdown and hit rate over the sessions; see `ccwatch.archives.performance`.

        Args:
            by: the period of one return: "day", "week", "month" or "session".
            executor: as for `ask`.
            on_progress: as for `ask`.
            cancel: as for `ask`.

        Raises:
            ConfigError: another `by`.
            NotEnoughData: no session carries a nav.
        """
        from ccwatch.archives.performance import performance  # noqa: PLC0415 - as above

        asked, left = self._asked()
        return performance(asked, by, executor, left_out=left, on_progress=on_progress, cancel=cancel)

    def choose(self, *rules: Mapping[str, Any], executor: Any = None, cancel: threading.Event | None = None) -> Choice:
        """Choose one of several rules of governance on the earlier half of the sessions, and judge it on the later half.

        Args:
            rules: the arguments of `report.what_if`, one mapping per rule: {"size_cap": 0.05}, {"veto": "alpha < 1.7"}.
            executor: as for `ask`.
            cancel: as for `ask`.

        Raises:
            ConfigError: no rule, or one that cannot be.
            NotEnoughData: fewer than two sessions can be replayed.
        """
        from ccwatch.archives.rule_choice import choose  # noqa: PLC0415 - as above

        asked, left = self._asked()
        return choose(asked, rules, executor, left_out=left, cancel=cancel)

    def first_sign(self, session: str, episode: Any = None, *, lead_s: float = 300.0, most: int = 20) -> FirstSign:
        """Say which measure had left its usual range before a fall of one session, judged by the calm of the others.

        Args:
            session: the session's name.
            episode: a row number of its `drawdowns()`, or a time in one; None is the deepest.
            lead_s: how long before the fall signs are looked for, s.
            most: calm sessions that are read at most, the newest first: those without a halt and with half of that fall at most.

        Raises:
            ConfigError: no such session or episode.
            NotEnoughData: the session has no drawdown.
        """
        from ccwatch.archives.rule_choice import first_sign  # noqa: PLC0415 - as above

        if session not in self._frame.index:
            raise ConfigError(f"session={session!r}: the archive holds no such session")
        asked, _ = self._asked(keep_doubled=True)
        return first_sign(asked, self._frame, session, episode, lead_s=lead_s, most=most)

    def sql(self, query: str, *, memory: str = "1GB") -> Any:
        """Answer SQL over all sessions, by DuckDB; see `ccwatch.archives.sql`.

        The views are packets, agents, models, logs, forecasts, trades, scanner, bars and events, each with `session`, `origin` and
        `date` (of `time`, UTC); the view sessions is the catalog. Rows are clean, NaN is NULL, flags are a list of names.

        Args:
            query: one SELECT (or WITH, DESCRIBE, EXPLAIN …).
            memory: the memory that DuckDB may use; beyond it, it spills to its temporary folder.

        Returns:
            DuckDB's relation: `.df()`, `.arrow()`, `.pl()`, `.fetchone()`.

        Raises:
            ConfigError: no query, one that would write, or one that DuckDB refuses; DuckDB is not installed.
        """
        from ccwatch.archives.sql import Views  # noqa: PLC0415 - an optional extra

        return Views(self._frame, memory=memory, left_out=self._unjudged).ask(query)

    def similar(
        self,
        source: Any,
        start: Any,
        end: Any,
        on: Sequence[str] = ("price",),
        top: int = 20,
        *,
        horizon: str = "15min",
        step: str = "1s",
    ) -> Similar:
        """Return the stretches of all sessions that look most like a given one; see `ccwatch.archives.similar`.

        Args:
            source: the Recording, Feed, session's name, path or frame that holds the stretch.
            start: the stretch's first time, as for `report.explain`: "14:38" is on the source's own date.
            end: the stretch's last time.
            on: the channels to compare: columns of the packets, and "latency:NAME" of an agent or model.
            top: how many matches to return.
            horizon: how long each match is followed.
            step: the grid that all channels are brought onto.

        Raises:
            ConfigError: no such channel or range.
            NotEnoughData: the stretch has a gap, or a channel does not move in it.
        """
        from ccwatch.archives.similar import similar  # noqa: PLC0415 - as above

        asked, left = self._asked(keep_doubled=True)
        return similar(self.place, asked, source, start, end, on=on, top=top, horizon=horizon, step=step, left_out=left)

    def to_html(self, path: str | Path, *, drop: Sequence[str] = (), executor: Any = None, on_progress: Progress | None = None) -> Path:
        """Write the archive as one offline page: equity, a calendar of days, the worst five, alerts and quality per day.

        Args:
            path: the file.
            drop: columns and lists to treat as if the stream had never carried them, as for `Report`; "nav" leaves the money out.
            executor: as for `ask`.
            on_progress: as for `ask`.

        Raises:
            ConfigError: `drop` names no column, or the file cannot be written.
        """
        from ccwatch.archives.archive_page import write_page  # noqa: PLC0415 - as above

        return write_page(self, user_path(path), drop=drop, executor=executor, on_progress=on_progress)

    def publish(self, url: str | Path, *, format: str = "delta", on_progress: Progress | None = None) -> Published:  # noqa: A002 - a fixed name
        """Publish the sessions as one table per kind for other engines; see `ccwatch.archives.publish`.

        Args:
            url: a folder, or an address such as s3://BUCKET/FOLDER.
            format: "delta".
            on_progress: as for `ask`, but counts sessions.

        Raises:
            ConfigError: another format; deltalake is not installed.
            RecordingError: the tables cannot be written.
        """
        from ccwatch.archives.publish import publish  # noqa: PLC0415 - an optional extra

        asked, left = self._asked()
        return publish(asked, str(url if is_remote(url) else user_path(url)), kind=format, left_out=left, on_progress=on_progress)

    def asked(self) -> tuple[Session, ...]:
        """Return the sessions that questions are asked of, by desk and time."""
        return self._asked()[0]

    def _asked(self, *, keep_doubled: bool = False) -> tuple[tuple[Session, ...], dict[str, str]]:
        """Return the sessions that can be read, and by name the reason why each other one is left out."""
        every = chosen.of_catalog(self._table, self._frame)
        status = self._frame["status"]
        left = self._unjudged | {str(name): str(word) for name, word in status.items() if str(word).startswith(chosen.UNREADABLE)}
        readable = tuple(session for session in every if session.name not in left)
        if not keep_doubled:
            left |= chosen.doubled(readable)
        return tuple(session for session in readable if session.name not in left), left


def _listed(place: str | Path) -> tuple[Any, pd.DataFrame]:
    if isinstance(place, Path):
        table = catalog.table_of(place)
        return table, catalog.frame_of(table, place)
    from ccwatch.archives.remote import table_of_remote  # noqa: PLC0415 - an optional extra

    table = table_of_remote(place)
    return table, catalog.frame_of(table, place.rstrip("/"))
