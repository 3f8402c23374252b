"""Calls into libraries that may never return, with an end to the waiting."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from drivers.base import DriverError

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
#: What a driver, or a library behind it, raises on purpose.
_RAISED = (DriverError, RuntimeError, OSError, ValueError, LookupError, TypeError)


class _Call(threading.Thread, Generic[_T]):
    """A call in a thread that does not keep its process alive."""

    def __init__(self, call: Callable[[], _T]) -> None:
        super().__init__(name=f"bounded {getattr(call, '__name__', call)}", daemon=True)
        self._call = call
        self.result: list[_T] = []
        self.error: Exception | None = None

    def run(self) -> None:
        """Make the call, and keep what came of it."""
        try:
            self.result.append(self._call())
        except _RAISED as error:
            self.error = error


def call_within(seconds: float, call: Callable[[], _T]) -> _T:
    """Make a call, and wait for its end no longer than so many seconds.

    Raises:
        TimeoutError: it has not ended. Its thread goes on; its process had better end.
        DriverError, RuntimeError, OSError, ValueError, LookupError, TypeError: as the call does.
    """
    thread = _Call(call)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"{thread.name} has not ended within {seconds:g} s")
    if thread.error is not None:
        raise thread.error
    return thread.result[0]
