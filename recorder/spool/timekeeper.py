"""What time it is in this boot, as the spool's process knows it: every anchor, journalled.

Anchors of lanes come through their rings. With each heartbeat the machine's own clocks are read:
NTP's and the RTC's, where there are any, and always what the system's clock says (source ``none``)
beside the boot's clock and the raw one, which shows slewing and suspends.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

from recorder.clock import system_anchor
from recorder.record import Anchor
from recorder.spool.journal import Journal
from recorder.system_time import ntp_anchor, rtc_anchor
from recorder.time_model import TimeModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: Anchors that the process keeps in mind, so that a heartbeat takes no time. The journal has all of
#: them, and whoever uploads or exports reads those.
MOST_ANCHORS = 600


class Timekeeper:
    """The anchors of this boot.

    Args:
        path: their journal; made if absent.
        is_feeding: whether the recorder's own receiver feeds the system's clock. Then what that
            says is no evidence of its own any more, from the receiver's first anchor on.
    """

    def __init__(self, path: Path, *, is_feeding: bool) -> None:
        self.journal = Journal(path, is_long=True)
        self._is_feeding = is_feeding
        self._anchors = [Anchor(**one) for one in self.journal.entries]
        #: Those that are not in the journal yet.
        self._untold: list[Anchor] = []
        self._model: TimeModel | None = None
        if not self._anchors:
            self._keep([system_anchor()])

    def _keep(self, new: Sequence[Anchor]) -> None:
        if not new:
            return
        self._anchors += new
        self._untold += new
        while len(self._anchors) > MOST_ANCHORS:
            self._thin()
        self._model = None

    def _thin(self) -> None:
        """Drop every second of each source in the older half."""
        half = len(self._anchors) // 2
        numbers: dict[str, Iterator[int]] = defaultdict(itertools.count)
        older = [one for one in self._anchors[:half] if next(numbers[one.source]) % 2 == 0]
        self._anchors[:half] = older

    @property
    def model(self) -> TimeModel:
        """What is known of the time now."""
        if self._model is None:
            self._model = TimeModel(self._anchors)
        return self._model

    def take(self, new: Sequence[Anchor]) -> bool:
        """Take what came from lanes; tell whether the time is known only since now."""
        was_known = self._has("rtc", "ntp", "gps", "pps")
        self._keep(new)
        return not was_known and self._has("rtc", "ntp", "gps", "pps")

    def _has(self, *sources: str) -> bool:
        return any(one.source in sources for one in self._anchors)

    def read_clocks(self) -> None:
        """Read the machine's own clocks."""
        is_fed = self._is_feeding and self._has("gps", "pps")
        found = [system_anchor(), rtc_anchor(), None if is_fed else ntp_anchor()]
        self._keep([one for one in found if one is not None])

    def tell(self) -> None:
        """Journal what is not there yet; durable with the journal's next sync.

        Raises:
            OSError: the disk does not take it; the next call goes on there.
        """
        while self._untold:
            self.journal.append(dataclasses.asdict(self._untold[0]))
            del self._untold[0]

    def close(self) -> None:
        """Close the journal; may be called twice."""
        self.journal.close()
