"""Deltas: operations that turn one message into exactly the next, the order of keys included. Pure values, no bytes.

Three operations, applied in this order to a copy of the message before:

    unset   paths of object entries that are gone
    set     a tree of what is new or other: an object is gone into, and anything else is a value, where [value] is one that is an object
            or a list; a new entry goes to the end of its object
    append  lists that moved on: [path, items, how many to drop in front]

A change of the order of keys that these cannot make is no delta: `diff` says None then, and the sender sends the whole message.
"""

from __future__ import annotations

from typing import Any, Final

from ccwatch.errors import DecodeError

MOST_OPERATIONS: Final = 10_000
"""The most paths and entries of one delta; a receiver refuses more."""
MOST_APPENDS: Final = 256
MOST_LEVELS: Final = 64
SHORTEST_LIST: Final = 2
"""Lists below this many entries are sent whole."""

Path = list[str]
Delta = dict[str, Any]


def diff(before: Any, after: Any) -> Delta | None:
    """Return the delta that turns `before` into `after`; None if they are not objects, or if no delta is exact."""
    if type(before) is not dict or type(after) is not dict:
        return None
    delta: Delta = {}
    unset: list[Path] = []
    append: list[list[Any]] = []
    try:
        tree = _changes(before, after, [], unset, append)
    except _NoDelta:
        return None
    if unset:
        delta["unset"] = unset
    if tree:
        delta["set"] = tree
    if append:
        delta["append"] = append
    return delta


class _NoDelta(Exception):
    """The operations cannot express the order of keys, or the depth."""


def _changes(before: dict[str, Any], after: dict[str, Any], path: Path, unset: list[Path], append: list[list[Any]]) -> dict[str, Any]:
    """Return the tree of `set` for an object; the other operations are added to their lists."""
    if len(path) >= MOST_LEVELS:
        raise _NoDelta
    if list(before) != list(after):
        kept = [key for key in before if key in after]
        if kept != [key for key in after if key in before] or any(key in before for key in list(after)[len(kept) :]):
            raise _NoDelta  # new entries go to the end
        unset += [[*path, key] for key in before if key not in after]
    tree: dict[str, Any] = {}
    for key, value in after.items():
        if key not in before:
            tree[key] = _leaf(value)
            continue
        known = before[key]
        if type(known) is dict and type(value) is dict and value:
            below = _changes(known, value, [*path, key], unset, append)
            if below:
                tree[key] = below
            continue
        if _same(known, value):
            continue
        if type(known) is list and type(value) is list and (moved := _moved(known, value)) is not None:
            append.append([[*path, key], *moved])
        else:
            tree[key] = _leaf(value)
    return tree


def _leaf(value: Any) -> Any:
    return [value] if type(value) in {dict, list} else value


def _moved(before: list[Any], after: list[Any]) -> tuple[list[Any], int] | None:
    """Return the entries appended to a list, and how many are dropped in front; None if the list changed in another way."""
    if len(after) < SHORTEST_LIST or not before:
        return None
    for drop in range(max(0, len(before) - len(after)), len(before)):
        kept = len(before) - drop
        if _same(before[drop:], after[:kept]):
            return after[kept:], drop
    return None


def _same(one: Any, other: Any) -> bool:
    """Return whether two values give the same JSON: 1, 1.0 and true do not, nor 0.0 and -0.0, nor objects of another order."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is str or kind is int:
        return bool(one == other)
    if kind is dict:
        return list(one) == list(other) and all(_same(value, other[key]) for key, value in one.items())
    if kind is list:
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) and (kind is not float or one != 0.0 or repr(one) == repr(other))


def is_within_bounds(delta: Delta) -> bool:
    """Return whether every receiver takes a delta: it has no more operations than one may have."""
    if len(delta.get("append", ())) > MOST_APPENDS:
        return False
    left = MOST_OPERATIONS - len(delta.get("unset", ()))
    trees = [delta["set"]] if "set" in delta else []
    while trees and left >= 0:
        tree = trees.pop()
        left -= len(tree)
        trees += [below for below in tree.values() if type(below) is dict]
    return left >= 0


def rebuild(before: Any, delta: Any) -> dict[str, Any]:
    """Return the message that a delta makes of the one before, which is left unchanged.

    Raises:
        DecodeError: not a delta, one that does not fit the message, or one of more than MOST_OPERATIONS.
    """
    if type(before) is not dict:
        raise DecodeError("a delta on nothing")
    if type(delta) is not dict or not delta.keys() <= {"unset", "set", "append"}:
        raise DecodeError("no delta: expected unset, set and append")
    count = _Count()
    found = dict(before)  # what is changed is copied first, what is not is shared
    for path in _listed(delta, "unset"):
        count.take(1)
        at, key = _parent(found, path)
        if key not in at:
            raise DecodeError("unset of an entry that is not there")
        del at[key]
    if "set" in delta:
        _set(found, delta["set"], count, 0)
    for operation in _listed(delta, "append", MOST_APPENDS):
        if type(operation) is not list or len(operation) != 3:
            raise DecodeError("append: expected path, items and how many to drop")
        path, items, drop = operation
        at, key = _parent(found, path)
        known = at.get(key)
        if type(known) is not list or type(items) is not list or type(drop) is not int or not 0 <= drop <= len(known):
            raise DecodeError("append beyond a list")
        at[key] = known[drop:] + items
    return found


class _Count:
    """Counts operations up to a limit."""

    def __init__(self) -> None:
        self._left = MOST_OPERATIONS

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise DecodeError(f"a delta of more than {MOST_OPERATIONS} operations")


def _listed(delta: Delta, name: str, most: int = MOST_OPERATIONS) -> list[Any]:
    found = delta.get(name, [])
    if type(found) is not list or len(found) > most:
        raise DecodeError(f"{name}: expected a list of at most {most}")
    return found


def _parent(found: dict[str, Any], path: Any) -> tuple[dict[str, Any], str]:
    """Return a copy, in its place, of the object that holds the entry at a path, and the entry's key."""
    if type(path) is not list or not 0 < len(path) <= MOST_LEVELS or not all(type(key) is str for key in path):
        raise DecodeError("a path that is none")
    at: Any = found
    for key in path[:-1]:
        below = at.get(key)
        if type(below) is not dict:
            raise DecodeError("a path that leads nowhere")
        fresh = dict(below)
        at[key] = fresh
        at = fresh
    return at, path[-1]


def _set(at: dict[str, Any], tree: Any, count: _Count, level: int) -> None:
    if type(tree) is not dict or level >= MOST_LEVELS:
        raise DecodeError("set: expected a tree")
    count.take(len(tree))
    for key, below in tree.items():
        kind = type(below)
        if kind is dict:
            known = at.get(key)
            if type(known) is not dict:
                raise DecodeError("set within what is no object")
            at[key] = fresh = dict(known)
            _set(fresh, below, count, level + 1)
        elif kind is list:
            if len(below) != 1:
                raise DecodeError("set: expected a list of one value")
            at[key] = below[0]
        else:
            at[key] = below
