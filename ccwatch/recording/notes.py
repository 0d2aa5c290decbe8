"""Tags and notes that were added to recordings later; they are kept beside the recordings, which stay as they are.

There is one append-only file per author, so colleagues who share a folder lose nothing of each other's.

    <folder of recordings>/_notes/<author>.jsonl    a sealed line per tag, untag or note
"""

from __future__ import annotations

import getpass
import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

import msgspec

from ccwatch.errors import ConfigError, RecordingError
from ccwatch.recording.checked import prepare
from ccwatch.recording.folder import append_durably, seal, sealed_lines

_LOG: Final = logging.getLogger(__name__)
NOTES: Final = "_notes"
_LONGEST_NAME: Final = 80
LONGEST_TEXT: Final = 10_000
"""Most characters of a note."""


class Note(msgspec.Struct, frozen=True):
    """A tag or a note that someone added to a recording.

    Attributes:
        session: name of the recording's folder.
        time_ns: the time, by the author's clock, ns since 1970 UTC.
        author: the author's name.
        kind: "tag" or "untag" with a word, or "note", which replaces the one before.
        text: the word or the note.
    """

    session: str
    time_ns: int
    author: str
    kind: Literal["tag", "untag", "note"]
    text: str


prepare(Note)


class Noted(NamedTuple):
    """The tags and the newest note of one session."""

    tags: tuple[str, ...]
    note: str


def append(root: Path, notes: Iterable[Note]) -> None:
    """Append notes to their authors' files; they are on the disk when this returns.

    Raises:
        ConfigError: no author, an empty tag, or a text that is too long.
        RecordingError: the folder cannot be written.
    """
    for note in notes:
        who: object = note.author
        if not isinstance(who, str) or not who.strip():
            raise ConfigError("author: expected a name")
        text: object = note.text
        if not isinstance(text, str):
            raise ConfigError(f"{note.kind}: expected a text, got {text!r}")
        if (not note.text.strip() and note.kind != "note") or len(note.text) > LONGEST_TEXT or "\0" in note.text:
            raise ConfigError(f"{note.kind}: expected a text of up to {LONGEST_TEXT:,} characters, got {note.text[:40]!r}")
        try:
            (root / NOTES).mkdir(exist_ok=True)
            append_durably(root / NOTES / f"{_file_name(note.author)}.jsonl", seal(msgspec.to_builtins(note)) + b"\n")
        except OSError as error:
            raise RecordingError(f"{root / NOTES} cannot be written: {error}") from error


def read(root: Path) -> list[Note]:
    """Return all notes of a folder, oldest first; lines that fail their checksum or are no notes are passed over, and a warning logged."""
    found: list[Note] = []
    for path in sorted((root / NOTES).glob("*.jsonl")):
        read = [_note(line) for _, _, line in sealed_lines(path)]
        if None in read:
            _LOG.warning("%s: %d of %d lines are damaged; their tags and notes are missing", path, read.count(None), len(read))
        found += [note for note in read if note is not None]
    return sorted(found, key=lambda note: (note.time_ns, note.author))


def applied(notes: Iterable[Note], session: str, tags: Iterable[str]) -> Noted:
    """Return the tags of a session, recorded ones first, and its newest note."""
    words, text = dict.fromkeys(tags), ""
    for note in notes:
        if note.session != session:
            continue
        if note.kind == "tag":
            words[note.text] = None
        elif note.kind == "untag":
            words.pop(note.text, None)
        else:
            text = note.text
    return Noted(tuple(words), text)


def by_session(notes: Iterable[Note]) -> dict[str, list[Note]]:
    """Return the notes by session."""
    found: dict[str, list[Note]] = {}
    for note in notes:
        found.setdefault(note.session, []).append(note)
    return found


def this_author() -> str:
    """Return the login name; "unknown" where the system does not say."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def _file_name(author: str) -> str:
    """Return a file name that only this author has."""
    plain = quote(author, safe=" @+-_")
    if plain.startswith(".") or len(plain) > _LONGEST_NAME:
        return f"{plain.lstrip('.')[:_LONGEST_NAME]}-{hashlib.sha256(author.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    return plain


def _note(line: dict[str, Any] | None) -> Note | None:
    try:
        return msgspec.convert({name: value for name, value in (line or {}).items() if name in Note.__struct_fields__}, Note)
    except msgspec.ValidationError:
        return None
