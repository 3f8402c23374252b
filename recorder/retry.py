"""When a lane opens its device again: after pauses that grow, and at once when its node appears."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from recorder.clock import boot_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.service import Stop
    from recorder.watch_folder import AppearanceWatch

#: Pauses between attempts to open a device, in seconds; the last one stays.
PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
TICK_S = 0.2


class Retry:
    """The attempts of one lane.

    Args:
        node: path that appears with the device, or None.
        tick: what the lane does meanwhile, several times a second.
    """

    def __init__(self, node: str | None, tick: Callable[[], None]) -> None:
        self._node = node
        self._tick = tick
        self._watch: AppearanceWatch | None = None
        self._failures = 0

    @property
    def is_first(self) -> bool:
        """Whether the device worked until just now."""
        return self._failures == 0

    def wait(self, stop: Stop) -> None:
        """Wait until it is time for the next attempt, or the end is asked for.

        What appears between two calls is told to the later one: no attempt is too early for it.
        """
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        if self._watch is None and self._node is not None:
            from recorder.watch_folder import AppearanceWatch  # noqa: PLC0415 - brings `ctypes` along

            self._watch = AppearanceWatch(self._node)
        self._pause(stop, pause_s)

    def _pause(self, stop: Stop, pause_s: float) -> None:
        until_ns = boot_ns() + round(pause_s * 1e9)
        watched = [one for one in (stop, self._watch) if one is not None and one.fileno() >= 0]
        while not stop.is_set() and (left_ns := until_ns - boot_ns()) > 0:
            select.select(watched, [], [], min(TICK_S, left_ns / 1e9))
            self._tick()
            if self._watch is not None and self._watch.has_appeared():
                return

    def succeeded(self) -> None:
        """Forget the failures: the device gives samples. One that only opens is still failing."""
        self._failures = 0
        self.close()

    def close(self) -> None:
        """Stop watching; may be called twice."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
