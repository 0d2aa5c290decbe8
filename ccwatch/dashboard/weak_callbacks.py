"""Callbacks that do not keep their object alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any


def weakly(method: Callable[..., None]) -> Callable[..., None]:
    """Return a function that calls the method without keeping its object alive, and does nothing once the object is gone."""
    held = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        target = held()
        if target is not None:
            target(*arguments)

    return call
