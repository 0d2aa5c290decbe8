import ast
from pathlib import Path

import pytest

import ccwatch
from ccwatch.protocol import facts
from ccwatch.protocol.facts import Disconnected, Gap, ServerError, UnknownType
from ccwatch.protocol.messages import Event, EventKind, Instant
from ccwatch.protocol.stream_reader import StreamReader

HOUSE = Path(ccwatch.__file__).parent
READERS = {"partition", "rpartition", "split", "rsplit", "splitlines", "startswith", "endswith", "removeprefix", "removesuffix"} | {
    "find",
    "index",
    "count",
    "strip",
    "str",
}

LINES = [
    ("gap", Gap(7.0, reason="silence"), "seconds=7.000 reason=silence"),
    ("gap", Gap(0.125, 3, "market", reason="missing", is_numbered=True), "seconds=0.125 messages=3 channel=market reason=missing"),
    ("gap", Gap(1.0, None, "logs", reason="disconnect", is_numbered=True), "seconds=1.000 messages=unknown channel=logs reason=disconnect"),
    ("gap", Gap(messages=5, reason="trimmed", is_numbered=True), "messages=5 reason=trimmed"),
    ("gap", Gap(bytes=99, reason="damaged", first_entry=51), "bytes=99 reason=damaged first_entry=51"),
    (
        "gap",
        Gap(entries=30, reason="damaged", first_entry=31, seq=(4, 9), tables=("packets", "logs")),
        "entries=30 reason=damaged first_entry=31 seq=4-9 tables=packets,logs",
    ),
    ("disconnect", Disconnected(2, "the server said: a=b reason=c"), "connection=2 reason=the server said: a=b reason=c"),
    ("error", ServerError("406 type=x server=y"), "server=406 type=x server=y"),
    ("unknown", UnknownType("NODE UPDATE bytes=3", 66), "type=NODE UPDATE bytes=3 bytes=66"),
]


@pytest.mark.parametrize(("kind", "said", "line"), LINES)
def test_facts_are_one_line_and_the_line_is_read_back(kind, said, line):
    assert str(said) == line
    assert facts.read(kind, line) == said


@pytest.mark.parametrize("line", ["", "seconds=", "seconds=nan", "seconds=-1", "seq=1-", "messages=²", "=", "seconds=" + "9" * 99, "rows"])
@pytest.mark.parametrize("kind", [*EventKind, "one of a newer release"])
def test_a_line_of_another_hand_breaks_nothing(kind, line):
    said = facts.read(kind, line)
    assert said is None or said == Gap(is_numbered=line.startswith("messages="))


def test_a_type_with_spaces_is_named_whole():
    event = next(item for item in opened().receive(b'{"type":"NODE UPDATE","data":{}}', Instant(1, 1)) if isinstance(item, Event))
    assert (event.kind, event.facts) == (EventKind.UNKNOWN, UnknownType("NODE UPDATE", 32))


def test_every_event_of_a_session_that_has_facts_has_them_as_its_line_says():
    session = opened()
    items = [
        *session.receive(b'{"type":"ERROR","message":"no more"}', Instant(2, 2)),
        *session.lost(Instant(3, 3), "logs", 2, 1.23456, "missing"),
    ]
    items += session.closed(Instant(9, 9), "reset")
    events = [item for item in items if isinstance(item, Event)]
    assert [event.kind for event in events] == ["error", "gap", "disconnect"]
    assert [event.facts for event in events] == [facts.read(event.kind, event.detail) for event in events]


def opened():
    session = StreamReader()
    session.opened(Instant(1, 1))
    return session


@pytest.mark.slow
def test_nothing_reads_the_line_of_an_event_but_its_own_module():
    sought = [found for path in sorted(HOUSE.rglob("*.py")) if path.name != "facts.py" for found in taken_apart(path)]
    assert sought == []


def test_taking_a_line_apart_is_seen(tmp_path):
    path = tmp_path / "one.py"
    path.write_text('a = event.detail.partition("=")\nb = "x" in event.detail\nc = frame["detail"].astype("str").str.extract("x")\n')
    assert len(taken_apart(path)) == 3


def taken_apart(path):
    """Return the places of a module that look into an event's line: a method that cuts or searches it, or `in`."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [f"{path.name}:{node.lineno}" for node in nodes if looks_into_a_line(node)]


def looks_into_a_line(node):
    if isinstance(node, ast.Compare):
        return any(isinstance(op, ast.In | ast.NotIn) for op in node.ops) and is_line(node.comparators[-1])
    return isinstance(node, ast.Attribute) and node.attr in READERS and is_line(node.value)


def is_line(node):
    """Return whether an expression is an event's line, or a column of them, as it is or in another type."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "astype":
        return is_line(node.func.value)
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "detail"
    return isinstance(node, ast.Attribute) and node.attr == "detail"
