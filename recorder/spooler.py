"""The spool's process: rings to disk, one group commit after the other; sessions, commands, quota.

A commit appends what all rings hold, makes it durable, publishes the watermark, and only then gives
the rings their space back. Nothing here waits for a network, a device or the time.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import select
import time
from typing import TYPE_CHECKING

from recorder import status
from recorder.clock import boot_id, boot_ns
from recorder.command import CommandServer
from recorder.config import Config, to_json
from recorder.errors import SpoolError
from recorder.orders import answer
from recorder.ring_files import ReaderSet, running
from recorder.service import Notifier, Stop, entry
from recorder.spool.announce import new_session
from recorder.spool.counts import Counts
from recorder.spool.journal import Journal
from recorder.spool.quota import free_bytes, make_room
from recorder.spool.receipts import delivered, receipts
from recorder.spool.recording import Recording, is_of_this_boot
from recorder.spool.spool import Spool
from recorder.spool.takeover import left_running, pass_over_ended, why_over
from recorder.spool.watermark import Watermark

if TYPE_CHECKING:
    from recorder.record import Anchor
    from recorder.ring import RingReader

log = logging.getLogger(__name__)

#: How long the last commit waits for lanes that are ending too, and how often it looks.
LAST_WORDS_S, POLL_S = 3.0, 0.05


class Spooler:
    """Everything the spool's process holds.

    Args:
        config: the resolved configuration.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._notifier = Notifier()
        config.rings_dir.mkdir(parents=True, exist_ok=True)
        self.spool = Spool.make_beside(config.spool_dir)
        self._lock = self.spool.hold()
        self._rings = ReaderSet(config.rings_dir)
        self.anchors = self.spool.anchors(boot_id().hex())
        self._anchor_journal = Journal(self.spool.anchors_path(boot_id().hex()))
        self._bases: dict[int, Counts] = {}
        self._met: set[int] = set()
        self.identifier = config.session.identifier
        self._next_beat_ns = 0
        self._trouble = self._told = ""
        self.recording: Recording | None = self._take_over() or self.announce()
        self._commands = CommandServer(config.command_socket)

    def _take_over(self) -> Recording | None:
        """End what other boots and dead processes left; go on with a session of this boot."""
        water = Watermark.read(self._config.watermark_file)
        going_on: Recording | None = None
        for session in left_running(self.spool):
            recording = Recording.resume(
                self.spool,
                session,
                self._config.spool.segment_bytes,
                water if is_of_this_boot(session) else None,
            )
            for text in recording.refused:
                log.error("cannot be read and stays where it is: %s", text)
            reason = why_over(session, [one.name for one in self._config.lanes])
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
        else:
            self._bases.update(recording.behind())
        recording.tell_time(self.spool.anchors(session.boot_id), self.identifier)
        recording.end(reason, is_destination=self._is_destination)
        log.warning("session %s was left behind: ended as %s", session.id, reason)

    @property
    def _is_destination(self) -> bool:
        return self._config.upload.mode == "off"

    def announce(self) -> Recording:
        """Begin a session; durable on return."""
        session = new_session(self._config)
        plain = json.loads(to_json(self._config))
        size = self._config.spool.segment_bytes
        recording = Recording.announce(self.spool, session, plain, size)
        self._next_beat_ns = 0
        log.info("session %s announced", session.id)
        return recording

    def run(self, stop: Stop) -> None:
        """Commit at the configured interval until told to stop, then end the session."""
        self._notifier.ready("recovered")
        interval_ns = round(self._config.spool.commit_interval_s * 1e9)
        next_ns = boot_ns()
        while not stop.is_set():
            self.commit()
            next_ns = max(next_ns + interval_ns, boot_ns())
            self._wait(stop, next_ns)
        self._notifier.stopping()
        self._outlast_lanes()
        self.commit()
        self.end("shutdown")
        self._sign()

    def _outlast_lanes(self) -> None:
        # At shutdown all processes are told at once; a lane still finishes the sample under way.
        until_ns = boot_ns() + round(LAST_WORDS_S * 1e9)
        while running(self._config.rings_dir) and boot_ns() < until_ns:
            time.sleep(POLL_S)

    def _wait(self, stop: Stop, until_ns: int) -> None:
        while not stop.is_set() and (left_ns := until_ns - boot_ns()) > 0:
            ready, _, _ = select.select(
                [stop.fileno(), self._commands.fileno()], [], [], left_ns / 1e9
            )
            if self._commands.fileno() in ready:
                self._commands.serve(functools.partial(answer, self))

    def commit(self) -> None:
        """Bring to disk what the rings hold, and only then give their space back."""
        for text in self._rings.look():
            log.warning("left alone: %s", text)
        self._trouble = ""
        for ring in self._rings:
            self._take(ring)
        if self._make_durable():
            for ring in self._rings:
                ring.free(ring.position)
            self._rings.retire()
            self._roll_over()
        self._told = self._trouble
        self._sign()

    def _make_durable(self) -> bool:
        """Commit what was taken; False if the disk is full and the next commit has to do it."""
        recording = self.recording
        if recording is None:
            return True
        try:
            if self._trouble:
                make_room(self.spool, self._config, recording)
            self._note_anchors(recording.take_anchors())
            self._beat(recording)
            water = recording.commit()
        except OSError as error:
            self._in_trouble(f"journal: {error}")
            return False
        water.publish(self._config.watermark_file)
        self._anchor_journal.sync()
        return True

    def _take(self, ring: RingReader) -> None:
        recording = self.recording
        if recording is None or ring.schema.lane not in recording.lanes:
            for header, _ in ring.records():  # nobody records: it is passed over
                self._bases[ring.epoch] = Counts.behind(header)
            return
        lane = recording.lanes[ring.schema.lane]
        base = self._bases.get(ring.epoch)
        if ring.epoch not in self._met:
            self._met.add(ring.epoch)
            if base is None and not lane.account.durable_position(ring.epoch):
                pass_over_ended(ring)
        taken = lane.account.durable_position(ring.epoch), base.position if base else 0
        ring.position = max(ring.position, *taken)
        try:
            recording.take(ring, base)
        except OSError as error:
            self._in_trouble(f"{ring.schema.lane}: {error}")

    def _in_trouble(self, text: str) -> None:
        self._trouble = f"cannot write: {text}"
        if not self._told:
            log.warning("%s; the rings hold what they can", self._trouble)

    def _note_anchors(self, anchors: list[Anchor]) -> None:
        for anchor in anchors:
            self._anchor_journal.append(dataclasses.asdict(anchor))
        self.anchors += anchors

    def _beat(self, recording: Recording) -> None:
        if boot_ns() < self._next_beat_ns:
            return
        session = recording.session
        self._next_beat_ns = boot_ns() + round(session.heartbeat_s * 1e9)
        given = receipts(self._config.upload_dir / session.id)
        for one in session.lanes:
            moved = delivered(given, one.name) - one.delivered
            one.delivered += moved
            one.pending -= moved
        recording.tell_time(self.anchors, self.identifier)
        recording.beat(self.anchors)
        for text in [text for one in session.lanes for text in one.imbalances()]:
            log.error("the ledger does not balance: %s", text)
        if free_bytes(self.spool.directory) < self._config.spool.free_floor_bytes:
            make_room(self.spool, self._config, recording)

    def _roll_over(self) -> None:
        recording = self.recording
        if recording is None or recording.session.state.name == "waiting":
            return
        age_ns = boot_ns() - (recording.session.start_boot_ns or boot_ns())
        if age_ns > self._config.session.roll_over_s * 1e9:
            self.end("roll_over")
            self.recording = self.announce()

    def end(self, reason: str) -> None:
        """End the session that is being recorded, if any; durable on return."""
        recording = self.recording
        if recording is None:
            return
        if reason != "roll_over":
            # At a roll-over a lane that is away is still due: it is the next session's to count.
            recording.close_accounts(list(self._rings), running(self._config.rings_dir))
        self._bases.update(recording.behind())
        try:
            recording.tell_time(self.anchors, self.identifier)
            recording.beat(self.anchors)
            recording.end(reason, is_destination=self._is_destination)
        except OSError as error:
            raise SpoolError(f"the session's end cannot be written: {error}") from error
        self.recording = None
        session = recording.session
        log.info("session %s: recording ended (%s)", session.id, reason)
        if lost := sum(one.lost_write for one in session.lanes):
            log.warning("session %s: %d samples could not be written", session.id, lost)

    def _sign(self) -> None:
        recording = self.recording
        session = recording.session if recording else None
        words = f"recording {session.id[:8]}" if session else "no session"
        facts = {
            "state": self._trouble or words,
            "trouble": self._trouble,
            "session": session.to_dict() if session else None,
            "free_bytes": free_bytes(self.spool.directory),
        }
        status.publish(self._config.spool.run_dir, "spool", facts)
        self._notifier.ping(self._trouble or words)

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        if self.recording is not None:
            self.recording.close()
        self._commands.close()
        self._anchor_journal.close()
        self._rings.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def main(config: Config, stop: Stop) -> None:
    """Run the spool's process until told to stop.

    Raises:
        ConfigError: a driver does not take what its lane's table says.
        SpoolError: the spool's directory cannot be used.
    """
    spooler = Spooler(config)
    try:
        spooler.run(stop)
    finally:
        spooler.close()


if __name__ == "__main__":
    entry("spool", main)
