"""What must be there: a test that finds nothing ends here, and the type checker knows it."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def known(found: T | None) -> T:
    """Return what was found; a failure if it is nothing."""
    assert found is not None, "nothing is there"
    return found
