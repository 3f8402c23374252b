"""What the spool holds of one session, as the uploader looks at it again and again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from recorder.clock import boot_id, boot_ns, system_anchor
from recorder.errors import DamagedError
from recorder.record import Anchor
from recorder.session.session import Session
from recorder.spool import journal
from recorder.spool.names import SUFFIX
from recorder.spool.segment import read_head
from recorder.spool.tail import Tail
from recorder.spool.watermark import durable
from recorder.time_model import TimeModel, near

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from recorder.clock import Mapping
    from recorder.spool.spool import Spool
    from recorder.spool.watermark import Watermark

#: Nobody vouches for these. An RTC is minutes off, or decades: a first fix is worth the wait.
_WORTH_WAITING = ("none", "rtc")
#: Ends of a recording behind which its boot goes on, and may hear the time.
_GOES_ON = ("roll_over", "operator", "rule", "watchdog")


class Source:
    """One session of the spool.

    Args:
        spool: the spool.
        session_id: which session.
    """

    def __init__(self, spool: Spool, session_id: str) -> None:
        self._spool = spool
        self.session_id = session_id
        self._water: Watermark | None = None
        self._blobs: dict[str, bool] = {}
        self._tail = Tail(spool.journal_path(session_id))
        self.let_go()
        self._anchors: list[Anchor] = []
        self._model: TimeModel | None = None
        #: Whether a person asked to keep it, or a stretch of it.
        self.is_pinned = False
        #: Ends of the marks' windows, CLOCK_BOOTTIME.
        self._marked_to_ns: list[int] = []
        #: Lengths of the sealed segments that are there, by name.
        self._sealed: dict[str, int] = {}
        self.session: Session = spool.session(session_id)
        #: Whether it was recorded since the machine was started.
        self.is_of_this_boot = self.session.boot_id == boot_id().hex()
        self._anchors_tail = Tail(spool.anchors_path(self.session.boot_id))
        self.look(None)

    def look(self, water: Watermark | None) -> None:
        """Take note of what changed.

        Args:
            water: how far the session under recording is durable, read before this call.
        """
        self._water = water
        self.look_at_journal()

    def look_at_journal(self) -> bool:
        """Take note of what changed in the session's journal only; return whether anything did."""
        news = self._tail.news()
        if not news.read_bytes:  # or the session was removed just now
            return False
        if news.is_anew:
            self._forget()
        if news.beats or news.is_anew:
            self.session = self._spool.session(self.session_id)
        for one in news.entries:
            self._note(one)
        return True

    def _forget(self) -> None:
        self.is_pinned = False
        self._marked_to_ns.clear()
        self._sealed.clear()

    def _note(self, entry: dict[str, Any]) -> None:
        kind = entry["entry"]
        if kind in ("pin", "unpin"):
            self.is_pinned = kind == "pin"
        elif kind == "mark":
            self._marked_to_ns.append(entry["boot_ns"] + round(entry.get("after_s", 0) * 1e9))
        elif kind == "sealed":
            self._sealed[entry["file"]] = entry["bytes"]
        elif kind == "evicted":
            self._sealed.pop(entry["file"], None)

    @property
    def goes_first(self) -> bool:
        """Whether somebody waits for it: it is pinned, or has a mark."""
        return self.is_pinned or bool(self._marked_to_ns)

    def is_marked(self, oldest_boot_ns: int) -> bool:
        """Tell whether the window of a mark is over that what begins so early may hold."""
        now = boot_ns()
        return any(oldest_boot_ns <= end_ns < now for end_ns in self._marked_to_ns)

    @property
    def entries(self) -> Iterable[dict[str, Any]]:
        """What the session's journal says, to be gone through once.

        Of a session that is being recorded it is kept, 3 MB for each hour, until `let_go`: it is
        asked for every second. Of a stopped one it is read each time, line by line.
        """
        if self.is_stopped:
            return journal.each(self._tail.path)
        news = self._whole.news()
        if news.is_anew:
            self._entries.clear()
        self._entries += news.entries
        return self._entries

    def let_go(self) -> None:
        """Keep nothing that can be read again: many sessions may wait."""
        self._entries: list[dict[str, Any]] = []
        self._whole = Tail(self._spool.journal_path(self.session_id), with_beats=True)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing will be recorded into it any more."""
        return self.session.recording == "stopped"

    @property
    def is_live(self) -> bool:
        """Whether it is being recorded now, by a process that lives on this machine."""
        return (
            not self.is_stopped
            and self._water is not None
            and self._water.session_id == self.session_id
            and self.is_of_this_boot
        )

    def lanes(self) -> list[str]:
        """Return the lanes that have records, those with pictures last."""
        names = self._spool.lanes(self.session_id)
        return sorted(names, key=lambda lane: (self._has_blobs(lane), lane))

    def _has_blobs(self, lane: str) -> bool:
        if lane not in self._blobs:
            for path in self.folder(lane).glob(f"*{SUFFIX}"):
                with contextlib.suppress(DamagedError, FileNotFoundError):
                    self._blobs[lane] = read_head(path).schema.blob is not None
                    break
        return self._blobs.get(lane, False)

    def folder(self, lane: str) -> Path:
        """Return where a lane's segments lie."""
        return self._spool.session_dir(self.session_id) / lane

    def segments(self, lane: str, since: str = "") -> list[tuple[Path, int]]:
        """Return a lane's segments in order, and how far each may be told to the outside.

        Of a stopped session that is all: its segments were made durable before it was stopped.

        Args:
            lane: the lane.
            since: name of a segment of it; earlier ones of its ring are left out.
        """
        if not self.is_stopped:
            try:
                return durable(self._spool, self.session_id, lane, self._water, since=since)
            except FileNotFoundError:  # one was given up just now; the next look sees the rest
                return []
        found: list[tuple[Path, int]] = []
        for path in self._spool.segments(self.session_id, lane, since):
            try:
                found.append((path, path.stat().st_size))
            except FileNotFoundError:
                continue
        return found

    def size_bytes(self) -> int:
        """Return the size of all segments, as far as they are durable; for display only."""
        water = self._water
        is_mine = water is not None and water.session_id == self.session_id
        ends = dict(water.ends.values()) if water is not None and is_mine else {}
        return sum((ends | self._sealed).values())

    def model(self) -> TimeModel:
        """Return what is known now of the time in the session's boot.

        If nobody ever vouched for it, it is what the system's clock said first, with the source
        ``none``.
        """
        if self._learns_time() or self._model is None:
            self._model = TimeModel(self._known())
        return self._model

    def model_now(self) -> TimeModel:
        """Return the same, with both clocks of this boot as they are now.

        So the rows of the last seconds, behind the last anchor, are known as well as the others.
        """
        if self.is_stopped or not self.is_of_this_boot:
            return self.model()
        if self._learns_time():
            self._model = None
        return TimeModel([*self._known(), system_anchor()])

    def _known(self) -> Sequence[Anchor]:
        span = self.session.span_boot_ns
        return near(self._anchors, *span) or [self._untrusted()]

    def _learns_time(self) -> bool:
        news = self._anchors_tail.news()
        if news.is_anew:
            self._anchors.clear()
        self._anchors += [Anchor(**one) for one in news.entries]
        return news.is_anew or bool(news.entries)

    def mapping(self) -> Mapping:
        """Return boot time to UTC over the session, as it is known now."""
        return self.model().mapping(*self.session.span_boot_ns)

    def _untrusted(self) -> Anchor:
        beats = (one["session"] for one in self.entries if one["entry"] == "session")
        first = next((one for one in beats if one["heartbeat_utc_ns"]), None)
        if first is not None:
            return Anchor(first["heartbeat_boot_ns"], 0, first["heartbeat_utc_ns"], 0, "none")
        written_ns = self._spool.journal_path(self.session_id).stat().st_mtime_ns
        return Anchor(self.session.announced_boot_ns, 0, written_ns, 0, "none")

    def utc_ns(self) -> int | None:
        """Return what time it is now, if the boot is this one and NTP or satellites told it."""
        if not self.is_of_this_boot or (model := self.model()).source in _WORTH_WAITING:
            return None
        return model.utc_ns(boot_ns())

    def waits_for_time(self, most_s: float) -> bool:
        """Tell whether a better time may still come before anything is sent.

        It comes to a boot, not to a session: one that was rolled over, or stopped by hand, waits
        like the one that runs. Behind a shutdown, or in another boot, none comes any more.
        """
        is_over = self.is_stopped and self.session.end_reason not in _GOES_ON
        if is_over or not self.is_of_this_boot or self.model().source not in _WORTH_WAITING:
            return False
        return boot_ns() - self.session.announced_boot_ns < most_s * 1e9
