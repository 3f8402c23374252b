"""The spool as its one writer has it open: the lock, the sessions, what time it was.

It lasts as long as its file system can be trusted. When a sync fails, or the disk goes away, all of
it is let go, and made again when the disk takes it: behind the watermark, from the rings.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
from typing import TYPE_CHECKING

from recorder.clock import boot_id, boot_ns
from recorder.config import to_json
from recorder.errors import SpoolError
from recorder.ring_files import running
from recorder.spool import journal, takeover
from recorder.spool.announce import new_session
from recorder.spool.counts import counts_in
from recorder.spool.dependencies import Dependencies
from recorder.spool.left_in_ring import counted
from recorder.spool.leftovers import unknown
from recorder.spool.quota import Room, floor_bytes, free_bytes
from recorder.spool.recording import Recording
from recorder.spool.said import Said
from recorder.spool.session_time import is_of_this_boot, tell_time, time_model
from recorder.spool.spool import Spool
from recorder.spool.timekeeper import Timekeeper
from recorder.spool.volume import must_be_mounted
from recorder.spool.watermark import Watermark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.config import Config
    from recorder.ring import RingReader
    from recorder.session.session import Session
    from recorder.spool.counts import Counts

log = logging.getLogger(__name__)


class Archive:
    """What is open on the spool's file system. There is always a session, or somebody ended it.

    Args:
        config: the resolved configuration.
        bases: by ring epoch, up to where ended sessions took; kept up to date here.
        own: the session that this process recorded before it lost the disk, if it did.
        was_own: whether the file system was the recorder's own before it was lost: another one
            that lies in its place is none.
        is_recording: whether a session is to be recorded, if none goes on and nobody stopped it.

    Raises:
        NotMountedError: the partition is not there.
        SpoolError: another process writes to it, or it cannot be read.
        OSError: the disk does not take it.
    """

    def __init__(
        self,
        config: Config,
        bases: dict[int, Counts],
        *,
        own: str = "",
        was_own: bool = False,
        is_recording: bool = True,
    ) -> None:
        self._config = config
        self._bases = bases
        self.dependencies = Dependencies(config.dependencies_dir)
        #: What people said of the recording that goes on, and the session that it was last in.
        self.said = Said()
        self._predecessor, self._next_beat_ns = "", 0
        #: Whether somebody stopped the recording by hand, and nobody began one since.
        self.is_held = False
        self.recording: Recording | None = None
        must_be_mounted(config, was_own=was_own)
        self.spool = Spool.make_beside(config.spool_dir)
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, self.spool.hold())
            must_be_mounted(config, was_own=was_own)  # once more, and now nobody can unmount it
            opened.callback(self.spool.volume.close)
            self.room = Room(self.spool, config)
            anchors = self.spool.anchors_path(boot_id().hex())
            self.time = Timekeeper(anchors, is_feeding=config.clock.chrony_socket is not None)
            opened.callback(self.time.close)
            opened.callback(lambda: self.recording.close() if self.recording else None)
            if self.free_bytes() < floor_bytes(config):
                # A disk that is full could not even take what a recording begins with.
                self.room.keep(None, ["journal"])
            self.recording = self._take_over(own)
            if self.recording is not None:
                _trust(self.recording).publish(config.watermark_file)
            elif is_recording and (own or not self.is_held):  # it could not be stopped
                self.announce()
            self._opened = opened.pop_all()

    @takeover.uncollected()
    def _take_over(self, own: str) -> Recording | None:
        """End what other boots and dead processes left; go on with a session of this boot."""
        water = Watermark.read(self._config.watermark_file)
        going_on: Recording | None = None
        left = list(takeover.left_running(self.spool))
        self._go_on_from(takeover.newest_ended(self.spool))
        for path in unknown(self.spool, [one.id for one in left]):
            log.warning("%s: not the recorder's; left alone", path)
        for session in left:
            told = session.lanes
            if is_of_this_boot(session):
                # A sync may have failed: not all that the kernel shows is on the disk.
                path = self.spool.journal_path(session.id)
                self.room.spend_on(functools.partial(journal.renew, path))
            recording = Recording.resume(
                self.spool,
                session,
                self._config.spool.segment_bytes,
                water if is_of_this_boot(session) else None,
                is_afresh=session.id == own,
            )
            self.recording = recording  # let go with the rest, should the disk refuse what follows
            if is_of_this_boot(session):
                self._bases.update(counts_in(recording.entries, {"base"}))
            for text in recording.refused:
                log.error("cannot be read and stays where it is: %s", text)
            reason = None
            if session.id != own:
                is_short = takeover.count_rings_gone(recording, told, self._config.rings_dir)
                lanes = [one.name for one in self._config.lanes]
                reason = takeover.why_over(session, lanes, is_short=is_short)
            if reason is None:
                going_on = recording
                self.said = Said.of(recording.entries, session.id)
                log.info("session %s goes on", session.id)
            else:
                self._end_orphan(recording, reason, Said.of(recording.entries, session.id))
        return going_on

    def _end_orphan(self, recording: Recording, reason: str, said: Said) -> None:
        session = recording.session
        if reason == "power_loss":
            session.unaccounted_max_ns = round(session.heartbeat_s * 1e9)
        tell_time(session, time_model(self.spool, session), self._identifier(said))
        recording.end(reason, is_destination=self._is_destination)
        if reason != "power_loss":
            self._bases.update(recording.behind())
            self.said, self._predecessor = said, session.id
        log.warning("session %s was left behind: ended as %s", session.id, reason)

    def _go_on_from(self, before: Session | None) -> None:
        """Take over from the newest session, if its recording had ended when its process died."""
        if before is None:
            return
        entries = self.spool.entries(before.id)
        said = Said.of(entries, before.id)
        if before.end_reason not in takeover.FOLLOWED:
            self.said, self.is_held = said.left(), takeover.is_held(self.spool, before)
            return
        self._predecessor, self.said = before.id, said
        for epoch, counts in counts_in(entries, {"base", "behind"}).items():
            self._bases.setdefault(epoch, counts)

    def _identifier(self, said: Said) -> str:
        return said.identifier or self._config.session.identifier

    @property
    def _is_destination(self) -> bool:
        return self._config.upload.mode == "off"

    def announce(self) -> Recording:
        """Begin a session; durable on return."""
        self._release()
        session = new_session(self._config, self.dependencies, self.said, self._predecessor)
        plain = json.loads(to_json(self._config))
        size = self._config.spool.segment_bytes
        self.recording = Recording.announce(self.spool, session, plain, size, self._bases.values())
        # Before the first record: should the first commit fail, none of it is trusted.
        Watermark(session.id).publish(self._config.watermark_file)
        for entry in self.said.opening(boot_ns()):
            self.recording.note(entry)
        self._next_beat_ns, self.is_held = 0, False
        log.info("session %s announced", session.id)
        for kind, ids in session.dependencies_missing.items():
            log.warning("it needs %s, not in the store: %s", kind, ", ".join(ids))
        return self.recording

    def commit(self) -> None:
        """Make durable what was taken from the rings, and publish how far that is.

        Raises:
            SpoolError: it cannot be made durable; this archive is not to be used any more.
        """
        recording = self.recording
        if recording is None:
            return
        recording.commit([self.time.journal]).publish(self._config.watermark_file)

    def settle(self, loss_window_ns: int, rings: Sequence[RingReader] = ()) -> None:
        """Journal what the commit made true, the time, and a heartbeat if one is due.

        Durable with the next commit.

        Args:
            loss_window_ns: what a power cut may cost at present.
            rings: every ring there is; a heartbeat counts what they hold.

        Raises:
            OSError: the disk does not take it; the next call tries again.
        """
        recording = self.recording
        if recording is None:
            return
        self.room.spend_on(recording.settle)
        session = recording.session
        session.loss_window_ns = max(session.loss_window_ns, loss_window_ns)
        is_first = self.time.take(recording.take_anchors())
        if is_first or boot_ns() >= self._next_beat_ns:
            with counted(recording.lanes, rings):
                self._beat(recording)

    def _beat(self, recording: Recording) -> None:
        session = recording.session
        # With the heartbeat, so that one commit in many has more to write than rows, not two.
        self.time.read_clocks()
        self.time.tell()
        self._next_beat_ns = boot_ns() + round(session.heartbeat_s * 1e9)
        self.room.settle(session)
        tell_time(session, self.time.model, self._identifier(self.said))
        session.dependencies_missing = self.dependencies.missing(session.dependencies_missing)
        recording.beat(self.time.model)
        for text in [text for one in session.lanes for text in one.imbalances()]:
            log.error("the ledger does not balance: %s", text)

    def roll_over(self, rings: Sequence[RingReader] = ()) -> None:
        """Follow a session that is old enough by a new one; `rings` are all there are."""
        recording = self.recording
        if recording is None or recording.session.state.name == "waiting":
            return
        age_ns = boot_ns() - (recording.session.start_boot_ns or boot_ns())
        is_old = age_ns > self._config.session.roll_over_s * 1e9
        most_bytes = self._config.session.roll_over_bytes
        taken_bytes = sum(one.taken_bytes for one in recording.lanes.values())
        if is_old or 0 < most_bytes <= taken_bytes:
            self.end("roll_over", rings)
            self.announce()

    def end(self, reason: str, rings: Sequence[RingReader] = ()) -> None:
        """End the session that is being recorded, if any; durable on return.

        Args:
            reason: why (`recorder.session.session`).
            rings: every ring there is.
        """
        recording = self.recording
        if recording is None:
            if reason == "shutdown":
                self._release()
            return
        going_on = running(self._config.rings_dir)
        if reason == "roll_over":  # a lane that is away is still due: the next session counts it
            going_on += [one.schema.lane for one in rings]
        try:
            recording.close_accounts(rings, going_on)
            self._beat(recording)
            self.time.journal.sync()
            recording.end(reason, is_destination=self._is_destination)
        except OSError as error:
            raise SpoolError(f"the session's end cannot be written: {error}") from error
        self.room.stock.follow(recording.session.id)
        # Only now: what was taken and did not become durable is still the rings'.
        self._bases.update(recording.behind())
        self.recording, session = None, recording.session
        is_next, self.is_held = reason == "roll_over", reason == "operator"
        self._predecessor = session.id if is_next else ""
        self.said = self.said if is_next else self.said.left()
        log.info("session %s: recording ended (%s)", session.id, reason)
        if lost := sum(one.lost_write for one in session.lanes):
            log.warning("session %s: %d samples could not be written", session.id, lost)

    def _release(self) -> None:
        """Journal that what somebody stopped by hand does not stay so; durable on return."""
        if self.is_held:
            self.room.spend_on(lambda: takeover.let_go(self.spool))

    def free_bytes(self) -> int:
        """Return how much may still be written."""
        return free_bytes(self.spool.directory)

    def close(self) -> None:
        """Let go of everything and write nothing more; may be called twice."""
        self._opened.close()


def _trust(found: Recording) -> Watermark:
    """Return how far what was found reaches: what a commit that fails adds to it is not trusted."""
    ends = {name: lane.end for name, lane in found.lanes.items() if lane.end}
    return Watermark(found.session.id, ends)
