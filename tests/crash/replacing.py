"""Replacing things in the code of this process for a while."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Let names of modules or classes stand for something else inside.

    Args:
        changes: each a module or class, the name in it, and what it shall be.
    """
    kept = [(place, name, getattr(place, name)) for place, name, _ in changes]
    try:
        for place, name, other in changes:
            setattr(place, name, other)
        yield
    finally:
        for place, name, other in kept:
            setattr(place, name, other)
