"""The tree of errors: drawn as it is."""

from __future__ import annotations

import re

import pytest

from ccwatch import errors

DRAWN = (errors.__doc__ or "").partition("\n\n")[2]


def tree_of(drawing: str) -> dict[str, str]:
    """Each drawn error and the one that it hangs from."""
    found: dict[str, str] = {}
    path: list[str] = []
    for line in drawing.splitlines():
        branch = re.match(r"((?:│   |    )*(?:├── |└── )?)(\w+)", line)
        assert branch is not None, line
        depth = len(branch[1]) // 4
        path = [*path[:depth], branch[2]]
        found[branch[2]] = path[depth - 1] if depth else "Exception"
    return found


def real_tree() -> dict[str, str]:
    """Each error of the module and its first base."""
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    return {error.__name__: error.__bases__[0].__name__ for error in classes}


def test_every_error_is_drawn_where_it_hangs() -> None:
    assert tree_of(DRAWN) == real_tree()


@pytest.mark.parametrize(
    ("drawn", "other"),
    [
        ("│   │   └── Unauthorized ", "│   ├── Unauthorized "),
        ("    ├── MissingColumns", "├── MissingColumns"),
        ("│   └── DecodeError ", "│   └── EncodeError "),
        ("├── ConfigError", "└── AnotherError"),
    ],
)
def test_another_drawing_is_noticed(drawn: str, other: str) -> None:
    assert drawn in DRAWN
    assert tree_of(DRAWN.replace(drawn, other)) != real_tree()


@pytest.mark.parametrize("name", sorted(real_tree()))
def test_every_error_says_what_it_is(name: str) -> None:
    assert (getattr(errors, name).__doc__ or "").strip()
