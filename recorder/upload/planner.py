"""What is sent next: a part is planned from the spool and journalled before anybody sends it.

Lanes come first (small ones before pictures), then the recorder's own topics: marks, heartbeats
with the terminal record, and last the summary. While the session is being recorded a part is
planned when it is full, or its oldest row has waited for as long as a part may span, or the window
of a mark is over that it may hold; and heartbeats are planned every `SESSION_LOG_S`, before
everything else.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from recorder.clock import boot_ns
from recorder.upload.conclusion import terminal_record
from recorder.upload.frozen import Frozen, is_restated
from recorder.upload.naming import topic_path
from recorder.upload.parts import MARKS, SESSION_LOG, SUMMARY, Part
from recorder.upload.plan import LaneWalk, what_is_left
from recorder.upload.reissue import lines_of
from recorder.upload.rows import lines_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.clock import Mapping
    from recorder.config import Upload
    from recorder.upload.log import UploadLog
    from recorder.upload.plan import Draft
    from recorder.upload.rows import Line
    from recorder.upload.source import Source
    from recorder.upload.state import Progress

#: An observer of a live session sees a heartbeat at most so long after it was written; three times
#: that without one is stale.
SESSION_LOG_S = 60.0
#: They are sent when the oldest has waited for this share of it: the rest is for the way.
_DUE_SHARE = 5 / 6


class Planner:
    """Plans the parts of one session.

    Args:
        source: the session in the spool.
        journal: the uploader's journal of it.
        settings: bounds of a part, and how long to wait for the time.
    """

    def __init__(self, source: Source, journal: UploadLog, settings: Upload) -> None:
        self._source = source
        self._log = journal
        self._settings = settings
        self._walks: dict[str, LaneWalk] = {}
        self._doubted: set[str] = set()
        self._frozen = Frozen(one.part.mapping for one in journal.parts)

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is sent yet, as a better time may still come."""
        return self._source.waits_for_time(self._settings.time_wait_s)

    def next_part(self) -> Progress | None:
        """Plan and journal the part that is due, or return None."""
        source = self._source
        if self.is_waiting:
            return None
        if (due := self.heartbeats()) is not None:
            return due
        for lane in source.lanes():
            if (due := self._lane(lane)) is not None:
                return due
        return self._end() if source.is_stopped else None

    def heartbeats(self) -> Progress | None:
        """Plan and journal the heartbeats of a live session that are due, or return None."""
        if self._source.is_stopped or self.is_waiting:
            return None
        if any(not one.is_settled for one in self._log.of_lane(SESSION_LOG)):
            return None
        return self._own(SESSION_LOG)

    def plan_again(self, given_up: Progress, reason: str) -> None:
        """Plan and journal a part without what the spool does not hold any more as it was.

        Args:
            given_up: the part; the server holds nothing of it.
            reason: what is gone.
        """
        part = given_up.part
        left = None
        if not part.is_own:
            is_last = self._log.of_lane(part.lane)[-1] is given_up
            left = what_is_left(part, self._source.folder(part.lane), is_last=is_last)
        if left is None:
            self._log.note("dropped", part=part.id, reason=reason)
        else:
            self._log.plan(left)
        # Where the part ends may have been told by what is damaged: the walk goes on from what is.
        self._walks.pop(part.lane, None)

    def own_lines(self, topic: str) -> Iterator[Line]:
        """Return all rows of one of the recorder's own topics so far."""
        return lines_of(topic, self._source.entries, self._log)

    def _lane(self, lane: str) -> Progress | None:
        walk = self._walks.get(lane) or self._begin_walk(lane)
        segments = self._source.segments(lane, walk.since)
        is_trusted = self._trusts(lane)
        is_full = walk.walk(segments, leaves_pictures=is_trusted)
        draft = walk.draft
        if is_trusted and draft.last_boot_ns > boot_ns():  # it must not be told by the mapping
            self._doubted.add(lane)
            del self._walks[lane]
            return self._lane(lane)
        # A part of linked pictures ends before the next key frame, unless none comes any more.
        most_s = self._settings.part_s * (2 if draft.is_linked else 1)
        if not draft.rows or not (is_full or self._is_due(draft.first_boot_ns, most_s)):
            return None
        is_all = not is_full and not self._log.of_lane(lane) and self._source.is_stopped
        return self._plan(self._lane_part(lane, walk.next_draft(), is_all=is_all))

    def _trusts(self, lane: str) -> bool:
        """Tell whether a lane's pictures are as they were written a moment ago.

        So half of what is read, and of the checksums, is saved under recording. One that is damaged
        all the same costs a second try of the part that is sent with it: then the lane is looked at
        closely. So it is where a record says of itself that it comes from the future.
        """
        return self._source.is_live and lane not in self._log.thinned | self._doubted

    def _plan(self, part: Part) -> Progress:
        planned = self._log.plan(part)
        self._frozen.keep(part.mapping)
        return planned

    def _is_due(self, oldest_boot_ns: int, most_s: float | None = None) -> bool:
        waited_s = (boot_ns() - oldest_boot_ns) / 1e9
        is_marked = self._source.is_marked(oldest_boot_ns)
        return self._source.is_stopped or is_marked or waited_s >= (most_s or self._settings.part_s)

    def _begin_walk(self, lane: str) -> LaneWalk:
        parts = [one.part for one in self._log.of_lane(lane)]
        walk = self._walks[lane] = LaneWalk(
            self._settings.part_bytes,
            round(self._settings.part_s * 1e9),
            [piece for part in parts for piece in part.pieces],
            parts[-1].device if parts else {},
        )
        return walk

    def _lane_part(self, lane: str, draft: Draft, *, is_all: bool) -> Part:
        earlier = self._log.of_lane(lane)
        goes_on = bool(earlier) and earlier[-1].part.epoch == draft.epoch
        from_seqno = earlier[-1].part.to_seqno if goes_on else draft.from_seqno
        mapping = self._mapping(draft.first_boot_ns, draft.last_boot_ns)
        return Part(
            id=len(self._log.parts),
            lane=lane,
            topic=topic_path(lane, None if is_all else self._log.next_number(lane)),
            epoch=draft.epoch,
            from_seqno=from_seqno,
            to_seqno=draft.to_seqno,
            rows=draft.rows,
            pieces=draft.pieces,
            digest=draft.digest,
            mapping=mapping,
            after_ns=self._after_ns(lane, mapping),
            device=draft.device,
            on_error=draft.on_error,
        )

    def _mapping(self, first_boot_ns: int, last_boot_ns: int) -> Mapping:
        return self._frozen.extended(self._source.model_now(), first_boot_ns, last_boot_ns)

    def _after_ns(self, lane: str, mapping: Mapping) -> int | None:
        # The time may be restated where it was wrong; else it never steps back.
        earlier = [one for one in self._log.of_lane(lane) if one.is_delivered]
        if earlier and not is_restated(earlier[-1].part.mapping, mapping):
            return earlier[-1].last_ns
        return None

    def _end(self) -> Progress | None:
        if (due := self._own(MARKS)) is not None:
            return due
        if self._log.final is None:
            session, entries = self._source.session, self._source.entries
            mapping = self._mapping(*session.span_boot_ns)
            record = terminal_record(session, entries, self._log, mapping)
            self._log.note("final", session=record.to_dict())
        return self._own(SESSION_LOG) or self._own(SUMMARY)

    def _own(self, topic: str) -> Progress | None:
        earlier = self._log.of_lane(topic)
        begin = earlier[-1].part.to_seqno if earlier else 0
        boots = [one.boot_ns for one in itertools.islice(self.own_lines(topic), begin, None)]
        if not boots or not self._is_due(boots[0], _DUE_SHARE * SESSION_LOG_S):
            return None
        end = begin + len(boots)
        mapping = self._mapping(min(boots), max(boots))
        is_all = self._source.is_stopped and not earlier
        part = Part(
            id=len(self._log.parts),
            lane=topic,
            topic=topic_path(topic, None if is_all else self._log.next_number(topic)),
            epoch=0,
            from_seqno=begin,
            to_seqno=end,
            rows=len(boots),
            pieces=(),
            digest=lines_digest(itertools.islice(self.own_lines(topic), begin, end)),
            mapping=mapping,
            after_ns=self._after_ns(topic, mapping),
        )
        return self._plan(part)
