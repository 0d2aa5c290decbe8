"""Types, ranges and sizes that a recording's files may hold, checked by msgspec before anything is used. It opens no recording.

A checksum says that bytes are as they were written, not who wrote them. So every value from the disk is first converted into a
type with bounds; a value that does not fit raises a CorruptRecording that names the file and the field.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from ccwatch.errors import CorruptRecording

T = TypeVar("T")

MOST_ENTRIES: Final = 2**63 - 1
_Meta = msgspec.Meta

Int64 = Annotated[int, _Meta(ge=-(2**63), le=2**63 - 1)]
UInt64 = Annotated[int, _Meta(ge=0)]
"""No JSON that we read has a larger integer than of 64 bits: it would come as a float."""
Count = Annotated[int, _Meta(ge=0, le=MOST_ENTRIES)]
EntryNumber = Annotated[int, _Meta(ge=1, le=MOST_ENTRIES)]
Bytes = Annotated[int, _Meta(ge=0, le=2**50)]
UInt32 = Annotated[int, _Meta(ge=0, le=2**32 - 1)]
SessionId = Annotated[str, _Meta(min_length=1, max_length=255, pattern=r"^(?!\.{1,2}\Z)[^/\\\x00]+\Z")]
"""One component of a path, and none that leads elsewhere."""
Word = Annotated[str, _Meta(max_length=100)]
LONGEST_TEXT: Final = 10_000
"""Most characters of a mark."""
Text = Annotated[str, _Meta(max_length=LONGEST_TEXT)]
Url = Annotated[str, _Meta(max_length=10_000)]
Tags = Annotated[tuple[Annotated[str, _Meta(max_length=1_000)], ...], _Meta(max_length=1_000)]
Nonce = Annotated[str, _Meta(pattern=r"^[0-9a-f]{16}\Z")]
Origin = Annotated[str, _Meta(max_length=100, pattern=r"^\w+\Z")]
Fsync = Literal["strict", "balanced", "lazy", "off"]
Raw = Literal["auto", "always", "never"]
TableName = Annotated[str, _Meta(pattern=r"^[a-z_]{1,64}\Z")]
TableNames = Annotated[tuple[TableName, ...], _Meta(max_length=100)]
SegmentPath = Annotated[str, _Meta(max_length=300, pattern=r"^[a-z_]{1,64}/[a-z_]{1,64}-[0-9-]{1,100}\.parquet\Z")]
"""A file in the folder of its table: neither absolute nor anywhere else."""
Sha256 = Annotated[str, _Meta(pattern=r"^[0-9a-f]{64}\Z")]
Chunks = Annotated[tuple[UInt32, ...], _Meta(max_length=1_000_000)]
Version = Annotated[int, _Meta(ge=1, le=2**31)]

SESSION_BYTES: Final = 4 << 20
LINE_BYTES: Final = 16 << 20
"""Of a line of the manifest or of the marks: a finish line of thousands of symbols and a segment of thousands of row groups fit."""
LINES_BYTES: Final = 256 << 20
"""Of a whole manifest, or of all marks."""


def prepare(*kinds: Any) -> None:
    """Let msgspec look at types where they are defined, as one thread imports them.

    It does so when it first converts to a type; two threads that are the first at once end the process (msgspec 0.22).
    """
    for kind in kinds:
        msgspec.json.Decoder(kind)


@dataclass(frozen=True)
class CheckedMark:
    """A line of the marks: a moment and a text."""

    time_ns: Int64
    text: Text


prepare(CheckedMark)


def fits(found: Any, kind: type[T], where: Path | str) -> T:
    """Return `found` converted to the type that it must have.

    Args:
        found: plain values, as JSON has them.
        kind: a type of this module, or a dataclass or Struct of them; unknown fields are passed over.
        where: the file, for the error.

    Raises:
        CorruptRecording: it does not fit; the message names the file and the field.
    """
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        field = re.sub(r"^`?\$\.?|`$", "", place) or "the whole"
        raise CorruptRecording(f"{where}: {field}: {what}") from None


def read_bounded(path: Path, most: int) -> bytes:
    """Return the bytes of an ordinary file, which may not have more than a limit.

    Raises:
        FileNotFoundError: there is no file.
        CorruptRecording: it is no ordinary file, cannot be read, or is larger.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would keep us waiting
        with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor has no Path
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise CorruptRecording(f"{path}: expected an ordinary file")
            if found.st_size > most:
                raise CorruptRecording(f"{path}: {found.st_size:,} bytes; expected at most {most:,}")
            return file.read(most + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(*error.args) from None
    except OSError as error:
        raise CorruptRecording(f"{path} cannot be read: {error.strerror or error}") from None
