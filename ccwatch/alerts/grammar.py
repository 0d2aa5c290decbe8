"""The language of rules: text in, a tree of frozen nodes out, parsed by lark; nothing is ever evaluated as Python.

drawdown_peak <= -2%
alpha < 1.7 and exposure > 10%
mean(latency:Risk, 5m) > 300 or status == "HALT"
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, UnexpectedToken, VisitError

from ccwatch.domain.durations import UNITS, seconds_of
from ccwatch.errors import ConfigError

MOST_TEXT: Final = 500
"""Most characters of a rule's text."""
MOST_DEPTH: Final = 60
"""Most levels of brackets within brackets: deeper ones would exhaust the stack."""
_GRAMMAR: Final = rf"""
?start: either
?either: both ("or"i both)*
?both: negated ("and"i negated)*
?negated: "not"i negated -> negate
    | comparison
?comparison: sum (COMPARE sum)*
?sum: product (SIGN product)*
?product: signed (TIMES signed)*
?signed: SIGN signed -> minus
    | atom
?atom: PERCENT -> percent
    | DURATION -> duration
    | NUMBER -> number
    | TRUTH -> truth
    | STRING -> word
    | NAME "(" either ("," either)* ")" -> call
    | NAME (":" (NAME | STRING))? -> name
    | "(" either ")"
COMPARE: "<=" | ">=" | "==" | "!=" | "<" | ">" | "=" | "≤" | "≥" | "≠"
SIGN: "+" | "-" | "−"
TIMES: "*" | "/"
PERCENT.3: /\d+(\.\d+)?([eE][+-]?\d+)?\s*%/
DURATION.3: /\d+(\.\d+)?\s*({UNITS})\b/
NUMBER: /(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?/
TRUTH.2: /(true|false)\b/
STRING: /"[^"\n]*"|'[^'\n]*'/
NAME: /[^\W\d][\w.]*/
%ignore /\s+/
"""

WINDOWED: Final = ("mean", "std", "min", "max", "change", "rate", "count")
"""Functions over a duration: mean(x, 5m). change is the newest less the oldest, rate that per second."""
FUNCTIONS: Final = ("abs", *WINDOWED, "absent")


@dataclass(frozen=True, slots=True)
class Number:
    """A constant; a percentage is a fraction, a duration seconds."""

    value: float
    is_duration: bool = False
    is_percent: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Word:
    """A text constant, of a status, regime or side."""

    text: str


@dataclass(frozen=True, slots=True)
class Name:
    """A measure or a column; `service` is the beginning of an agent's or a model's name."""

    name: str
    service: str | None = None

    def __str__(self) -> str:
        return self.name if self.service is None else f"{self.name}:{self.service}"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator and what it is applied to: + - * / abs min max, < <= > >= == !=, and or not."""

    sign: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """A function over a duration."""

    function: str
    of: Node
    seconds: float


Node = Number | Word | Name | Operation | Window


@lru_cache(maxsize=512)
def parse(text: str) -> Node:
    """Parse a rule's text into a tree.

    Raises:
        ConfigError: it does not follow the grammar; says where, and what was expected there.
    """
    if len(text) > MOST_TEXT or text.count("(") > MOST_DEPTH or text.count("not") > MOST_DEPTH:
        raise ConfigError(f"a condition of {len(text):,} signs is too long: expected {MOST_TEXT:,} at most, and {MOST_DEPTH} brackets")
    if not text.strip():
        raise ConfigError("an empty condition; expected for example 'drawdown_peak <= -2%'")
    try:
        return _Builder().transform(_parser().parse(text))
    except VisitError as error:
        raise ConfigError(f"{text!r}: {error.orig_exc}") from None
    except RecursionError:
        raise ConfigError(f"{text!r:.80}: too deep for a condition") from None
    except UnexpectedInput as error:
        place: Any = vars(error).get("pos_in_stream")  # lark says None, or -1, at the end
        is_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        at = len(text) if is_end or place is None or place < 0 else int(place)
        found = f"{text[at : at + 20]!r} at sign {at + 1}" if at < len(text) else "its end"
        raise ConfigError(
            f"{text!r}: {found} was not expected; a condition compares measures, as in 'alpha < 1.7 and exposure > 10%'"
        ) from None


def names_in(node: Node) -> Iterator[Name]:
    """Return the measures and columns of a tree, in order."""
    if isinstance(node, Name):
        yield node
    elif isinstance(node, Operation):
        for part in node.parts:
            yield from names_in(part)
    elif isinstance(node, Window):
        yield from names_in(node.of)


def nearest_word(word: str, known: tuple[str, ...] | list[str]) -> str:
    """Return a question with the nearest known word, "did you mean …?", else the list of known words."""
    words = [name.casefold() for name in known]
    longer = [name for name in words if name.startswith(f"{word.casefold()}_")]  # the beginning of a word is what was meant
    near = longer or difflib.get_close_matches(word.casefold(), words, n=1, cutoff=0.5)
    if near:
        return f"did you mean {next(name for name in known if name.casefold() == near[0])!r}?"
    return f"there are {', '.join(known)}"


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="contextual")


class _Builder(Transformer[Token, Node]):
    """The transformer of lark's tree into nodes."""

    def number(self, parts: list[Any]) -> Node:
        return Number(float(parts[0]))

    def percent(self, parts: list[Any]) -> Node:
        return Number(float(parts[0].rstrip("% \t")) / 100.0, is_percent=True)

    def duration(self, parts: list[Any]) -> Node:
        return Number(seconds_of(str(parts[0])), is_duration=True)

    def truth(self, parts: list[Any]) -> Node:
        return Number(float(parts[0] == "true"))

    def word(self, parts: list[Any]) -> Node:
        return Word(str(parts[0])[1:-1])

    def name(self, parts: list[Any]) -> Node:
        return Name(str(parts[0]), None if len(parts) == 1 else str(parts[1]).strip("\"'"))

    def minus(self, parts: list[Any]) -> Node:
        sign, value = parts
        if sign == "+":
            return value  # type: ignore[no-any-return] # lark's trees are untyped
        return replace(value, value=-value.value) if isinstance(value, Number) else Operation("-", (Number(0.0), value))

    def sum(self, parts: list[Any]) -> Node:
        return _from_left(parts)

    def product(self, parts: list[Any]) -> Node:
        return _from_left(parts)

    def comparison(self, parts: list[Any]) -> Node:
        """Compare each part of a chain such as 0 < x < 1 with its neighbour."""
        signs = {"=": "==", "≤": "<=", "≥": ">=", "≠": "!="}
        pairs = tuple(
            Operation(signs.get(str(parts[at]), str(parts[at])), (parts[at - 1], parts[at + 1])) for at in range(1, len(parts), 2)
        )
        return pairs[0] if len(pairs) == 1 else Operation("and", pairs)

    def both(self, parts: list[Any]) -> Node:
        return Operation("and", tuple(parts))

    def either(self, parts: list[Any]) -> Node:
        return Operation("or", tuple(parts))

    def negate(self, parts: list[Any]) -> Node:
        return Operation("not", tuple(parts))

    def call(self, parts: list[Any]) -> Node:
        name, arguments = str(parts[0]), tuple(parts[1:])
        if name not in FUNCTIONS:
            raise ConfigError(f"unknown function {name!r}: {nearest_word(name, FUNCTIONS)}")
        last = arguments[-1]
        span = last.value if isinstance(last, Number) and last.is_duration else _text_duration(last)
        if span is not None and name != "abs":
            if len(arguments) != 2 or span <= 0.0:
                raise ConfigError(f"{name}: expected a value and a duration above 0, as in {name}(alpha, 5m)")
            if name == "absent" and not isinstance(arguments[0], Name):
                raise ConfigError("absent: expected a column or measure and a duration, as in absent(nav, 30s)")
            return Window(name, arguments[0], span)
        if name in {"min", "max"} and len(arguments) >= 2:
            return Operation(name, arguments)
        if name == "abs" and len(arguments) == 1:
            return Operation("abs", arguments)
        expected = "abs(x)" if name == "abs" else f"{name}(alpha, 5m)"
        raise ConfigError(f"{name}: expected {expected}, got {len(arguments)} values and no duration")


def _from_left(parts: list[Any]) -> Node:
    found = parts[0]
    for at in range(1, len(parts), 2):
        found = Operation("-" if parts[at] == "−" else str(parts[at]), (found, parts[at + 1]))
    return found  # type: ignore[no-any-return] # lark's trees are untyped


def _text_duration(node: Node) -> float | None:
    if not isinstance(node, Word):
        return None
    try:
        return seconds_of(node.text)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def text_of(node: Node) -> str:
    """Return a tree as text, which parses to the same tree."""
    if isinstance(node, Number):
        if node.is_percent:
            return f"{100.0 * node.value:.12g}%"
        return f"{node.value:.12g}" + ("s" if node.is_duration else "")
    if isinstance(node, Word):
        return f'"{node.text}"'
    if isinstance(node, Name):
        return node.name if node.service is None else f'{node.name}:"{node.service}"'
    if isinstance(node, Window):
        return f"{node.function}({text_of(node.of)}, {node.seconds:.12g}s)"
    parts = [text_of(part) for part in node.parts]
    if node.sign in {"abs", "min", "max"}:
        return f"{node.sign}({', '.join(parts)})"
    return f"(not {parts[0]})" if node.sign == "not" else f"({f' {node.sign} '.join(parts)})"
