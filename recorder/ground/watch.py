"""Recordings watched from outside, and abandoned by the rules of the session model.

Silence alone never ends a recording: the vehicle may be in a garage. It is abandoned only if it has
been silent for longer than the lease *and* its vehicle has begun a newer one without ever having
taken care of this one, or if a person says so. Abandoning is one note on the sequence; nothing is
finalized, nothing deleted. Its vehicle, should it come back, sees the note and issues what it holds
as another recording, which names this one among its sources (`recorder.upload.reissue`).
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from recorder.errors import RecorderError
from recorder.ground.seen import related
from recorder.upload.naming import abandoned_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from recorder.ground.observe import Observer
    from recorder.ground.seen import Seen

LEASE_S = 24 * 3600.0


class Watch:
    """Looks again and again.

    Args:
        observer: of the server; its key needs read and write.
        lease_s: silence for less than this abandons nothing.
        now_s: a clock that never steps; silence while watching is reckoned by it.
    """

    def __init__(
        self,
        observer: Observer,
        lease_s: float = LEASE_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observer = observer
        self._lease_s = lease_s
        self._now_s = now_s
        self._ended: dict[str, Seen] = {}
        # By sequence: the newest sign's time at the server, and when it came by our clock.
        self._signs: dict[str, tuple[int, float]] = {}

    def look(self) -> list[Seen]:
        """Look at every recording, abandon what is due, and return all, the oldest first."""
        looks = (self._look(name) for name in self._observer.sequences())
        found = related([seen for seen in looks if seen is not None])
        for number, seen in enumerate(found):
            newer = self._newer(seen, found)
            if newer is not None and self._is_due(seen):
                silent_h = seen.silent_s / 3600
                self._note(
                    seen,
                    f"silent for {silent_h:.1f} h, and {seen.record['vehicle']} has begun"
                    f" {newer.id} since",
                )
                found[number] = dataclasses.replace(seen, is_abandoned=True)
        return sorted(found, key=lambda seen: seen.begun_utc_ns)

    def abandon(self, recording_id: str) -> Seen:
        """Abandon a recording because a person says so.

        Args:
            recording_id: its id, or the beginning of it.

        Raises:
            RecorderError: there is not exactly one, or it has ended.
        """
        found = [seen for seen in self._observer.recordings() if seen.id.startswith(recording_id)]
        ids = {seen.id for seen in found}
        if len(ids) != 1:
            raise RecorderError(f"{len(ids)} recordings begin with {recording_id!r}")
        seen = max(found, key=lambda seen: seen.begun_utc_ns)  # of one sent anew, what still grows
        if seen.has_ended:
            raise RecorderError(f"{seen.id} has ended ({seen.record['state']}): nothing to abandon")
        if not seen.is_abandoned:
            self._note(seen, "as an operator says")
        return dataclasses.replace(seen, is_abandoned=True)

    def _look(self, name: str) -> Seen | None:
        if name in self._ended:
            return self._ended[name]
        seen = self._observer.look(name)
        if seen is None:
            return None
        if seen.has_ended:
            self._ended[name] = seen
            return seen
        return dataclasses.replace(seen, silent_s=self._silent_s(seen))

    def _silent_s(self, seen: Seen) -> float:
        now_s = self._now_s()
        known = self._signs.get(seen.sequence)
        if known is None:  # what was before we looked, only the server's clock can tell
            self._signs[seen.sequence] = (seen.received_utc_ns, now_s - seen.silent_s)
        elif known[0] != seen.received_utc_ns:
            self._signs[seen.sequence] = (seen.received_utc_ns, now_s)
        return now_s - self._signs[seen.sequence][1]

    def _is_due(self, seen: Seen) -> bool:
        return seen.life in ("live", "stale") and seen.silent_s > self._lease_s

    def _newer(self, old: Seen, found: Iterable[Seen]) -> Seen | None:
        """A recording of the same vehicle that was announced later."""
        vehicle = old.record["vehicle"]
        later = (
            seen
            for seen in found
            if seen.record["vehicle"] == vehicle and seen.begun_utc_ns > old.begun_utc_ns
        )
        return max(later, key=lambda seen: seen.begun_utc_ns, default=None)

    def _note(self, seen: Seen, why: str) -> None:
        text = f"recording abandoned: {why} {abandoned_mark(seen.id)}"
        self._observer.client.notify(seen.sequence, text)
