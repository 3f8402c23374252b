"""The spool as its one writer has it open: the lock, the sessions, what time it was.

It lasts as long as its file system can be trusted. When a sync fails, or the disk goes away, all of
it is let go, and made again when the disk takes it: behind the watermark, from the rings.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from typing import TYPE_CHECKING

from recorder.clock import boot_id, boot_ns
from recorder.config import to_json
from recorder.errors import NotMountedError, SpoolError
from recorder.spool.announce import new_session
from recorder.spool.counts import counts_in
from recorder.spool.journal import Journal
from recorder.spool.leftovers import unknown
from recorder.spool.quota import Room, floor_bytes, free_bytes
from recorder.spool.recording import Recording
from recorder.spool.session_time import is_of_this_boot, tell_time
from recorder.spool.spool import Spool
from recorder.spool.takeover import left_running, taken_before, why_over
from recorder.spool.volume import is_alone
from recorder.spool.watermark import Watermark

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from recorder.config import Config
    from recorder.record import Anchor
    from recorder.ring import RingReader
    from recorder.spool.counts import Counts

log = logging.getLogger(__name__)


class Archive:
    """What is open on the spool's file system. There is always a session, or somebody ended it.

    Args:
        config: the resolved configuration.
        bases: by ring epoch, up to where ended sessions took; kept up to date here.
        identifier: template of the sessions' names.
        own: the session that this process recorded before it lost the disk, if it did.
        was_own: whether the file system was the recorder's own before it was lost: another one
            that lies in its place is none.
        is_recording: whether a session is to be recorded, if none goes on.

    Raises:
        NotMountedError: the partition is not there.
        SpoolError: another process writes to it, or it cannot be read.
        OSError: the disk does not take it.
    """

    def __init__(
        self,
        config: Config,
        bases: dict[int, Counts],
        identifier: str,
        *,
        own: str = "",
        was_own: bool = False,
        is_recording: bool = True,
    ) -> None:
        self._config = config
        self._bases = bases
        self.identifier = identifier
        self._next_beat_ns = 0
        #: Anchors that are not in the journal yet.
        self._untold: list[Anchor] = []
        self.recording: Recording | None = None
        marker = config.spool.marker
        if marker and not (config.spool.directory / marker).exists():
            raise NotMountedError(
                f"{config.spool.directory}: not mounted (it has no file {marker})"
            )
        self.spool = Spool.make_beside(config.spool_dir)
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, self.spool.hold())
            # Once more: it may have been unmounted just before the spool was opened.
            _must_be_mounted(config, was_own=was_own)
            opened.callback(self.spool.volume.close)
            self.room = Room(self.spool, config)
            self.anchors = self.spool.anchors(boot_id().hex())
            self.anchor_journal = Journal(self.spool.anchors_path(boot_id().hex()))
            opened.callback(self.anchor_journal.close)
            opened.callback(self._let_go)
            if self.free_bytes() < floor_bytes(config):
                # A disk that is full could not even take what a recording begins with.
                self.room.keep(None, ["journal"])
            self.recording = self._take_over(own)
            if self.recording is None and is_recording:
                self.announce()
            self._opened = opened.pop_all()

    def _let_go(self) -> None:
        if self.recording is not None:
            self.recording.close()

    def _take_over(self, own: str) -> Recording | None:
        """End what other boots and dead processes left; go on with a session of this boot."""
        water = Watermark.read(self._config.watermark_file)
        going_on: Recording | None = None
        left = list(left_running(self.spool))
        for epoch, counts in taken_before(self.spool).items():
            self._bases.setdefault(epoch, counts)
        for path in unknown(self.spool, [one.id for one in left]):
            log.warning("%s: not the recorder's; left alone", path)
        for session in left:
            recording = Recording.resume(
                self.spool,
                session,
                self._config.spool.segment_bytes,
                water if is_of_this_boot(session) else None,
                is_afresh=session.id == own,
            )
            self.recording = recording  # let go with the rest, should the disk refuse what follows
            if is_of_this_boot(session):
                self._bases.update(counts_in(self.spool.entries(session.id), {"base"}))
            for text in recording.refused:
                log.error("cannot be read and stays where it is: %s", text)
            lanes = [one.name for one in self._config.lanes]
            reason = None if session.id == own else why_over(session, lanes)
            if reason is None:
                going_on = recording
                log.info("session %s goes on", session.id)
            else:
                self._end_orphan(recording, reason)
        return going_on

    def _end_orphan(self, recording: Recording, reason: str) -> None:
        session = recording.session
        if reason == "power_loss":
            session.unaccounted_max_ns = round(session.heartbeat_s * 1e9)
        tell_time(session, self.spool.anchors(session.boot_id), self.identifier)
        recording.end(reason, is_destination=self._is_destination)
        if reason != "power_loss":
            self._bases.update(recording.behind())
        log.warning("session %s was left behind: ended as %s", session.id, reason)

    @property
    def _is_destination(self) -> bool:
        return self._config.upload.mode == "off"

    def announce(self) -> Recording:
        """Begin a session; durable on return."""
        session = new_session(self._config)
        plain = json.loads(to_json(self._config))
        size = self._config.spool.segment_bytes
        self.recording = Recording.announce(self.spool, session, plain, size, self._bases.values())
        # Before the first record: should the first commit fail, none of it is trusted.
        Watermark(session.id).publish(self._config.watermark_file)
        self._next_beat_ns = 0
        log.info("session %s announced", session.id)
        return self.recording

    def commit(self) -> None:
        """Make durable what was taken from the rings, and publish how far that is.

        Raises:
            SpoolError: it cannot be made durable; this archive is not to be used any more.
        """
        recording = self.recording
        if recording is None:
            return
        recording.commit([self.anchor_journal]).publish(self._config.watermark_file)

    def settle(self, loss_window_ns: int) -> None:
        """Journal what the commit made true, the time, and a heartbeat if one is due.

        Durable with the next commit.

        Args:
            loss_window_ns: what a power cut may cost at present.

        Raises:
            OSError: the disk does not take it; the next call tries again.
        """
        recording = self.recording
        if recording is None:
            return
        recording.settle()
        session = recording.session
        session.loss_window_ns = max(session.loss_window_ns, loss_window_ns)
        new = recording.take_anchors()
        is_first = bool(new) and not self.anchors
        self.anchors += new
        self._untold += new
        if is_first or boot_ns() >= self._next_beat_ns:
            self._beat(recording)

    def _beat(self, recording: Recording) -> None:
        session = recording.session
        # With the heartbeat, so that one commit in many has more to write than rows, not two.
        while self._untold:
            self.anchor_journal.append(dataclasses.asdict(self._untold[0]))
            del self._untold[0]
        self._next_beat_ns = boot_ns() + round(session.heartbeat_s * 1e9)
        self.room.settle(session)
        tell_time(session, self.anchors, self.identifier)
        recording.beat(self.anchors)
        for text in [text for one in session.lanes for text in one.imbalances()]:
            log.error("the ledger does not balance: %s", text)

    def roll_over(self) -> None:
        """Follow a session that is old enough by a new one."""
        recording = self.recording
        if recording is None or recording.session.state.name == "waiting":
            return
        age_ns = boot_ns() - (recording.session.start_boot_ns or boot_ns())
        if age_ns > self._config.session.roll_over_s * 1e9:
            self.end("roll_over")
            self.announce()

    def end(
        self,
        reason: str,
        rings: Sequence[RingReader] = (),
        running: Collection[str] = (),
    ) -> None:
        """End the session that is being recorded, if any; durable on return.

        Args:
            reason: why (`recorder.session.session`).
            rings: every ring there is.
            running: lanes whose process runs.
        """
        recording = self.recording
        if recording is None:
            return
        if reason != "roll_over":
            # At a roll-over a lane that is away is still due: it is the next session's to count.
            recording.close_accounts(rings, running)
        try:
            self._beat(recording)
            self.anchor_journal.sync()
            recording.end(reason, is_destination=self._is_destination)
        except OSError as error:
            raise SpoolError(f"the session's end cannot be written: {error}") from error
        self.room.stock.follow(recording.session.id)
        # Only now: what was taken and did not become durable is still the rings'.
        self._bases.update(recording.behind())
        self.recording = None
        session = recording.session
        log.info("session %s: recording ended (%s)", session.id, reason)
        if lost := sum(one.lost_write for one in session.lanes):
            log.warning("session %s: %d samples could not be written", session.id, lost)

    def free_bytes(self) -> int:
        """Return how much may still be written."""
        return free_bytes(self.spool.directory)

    def close(self) -> None:
        """Let go of everything and write nothing more; may be called twice."""
        self._opened.close()


def _must_be_mounted(config: Config, *, was_own: bool) -> None:
    place, marker = config.spool.directory, config.spool.marker
    if marker and not (place / marker).exists():
        raise NotMountedError(f"{place}: not mounted (it has no file {marker})")
    if was_own and not is_alone(config.spool_dir):
        raise NotMountedError(f"{place}: not mounted any more")
