"""The spool's process: rings to disk, one group commit after the other; sessions, commands, quota.

A commit appends what all rings hold, makes it durable, publishes the watermark, and only then gives
the rings their space back. Nothing here waits for a network, a device or the time, nor for the disk
to be there: until it is, the rings hold what they can.
"""

from __future__ import annotations

import functools
import logging
import select
import time
from typing import TYPE_CHECKING

from recorder import status
from recorder.clock import boot_ns
from recorder.command import CommandServer
from recorder.errors import NotMountedError, SpoolError
from recorder.orders import answer
from recorder.ring_files import ReaderSet, running
from recorder.service import Notifier, Stop, entry
from recorder.spool.archive import Archive
from recorder.spool.counts import Counts
from recorder.spool.pace import Pace
from recorder.spool.stock import lane_rank
from recorder.spool.takeover import pass_over_ended
from recorder.spool.volume import AWAY, FULL
from recorder.triggers import Triggers

if TYPE_CHECKING:
    from recorder.config import Config
    from recorder.ring import RingReader
    from recorder.spool.recording import Recording

log = logging.getLogger(__name__)

#: How long the last commit waits for lanes that are ending too, and how often it looks.
LAST_WORDS_S, POLL_S = 3.0, 0.05


class Spooler:
    """Everything the spool's process holds.

    Args:
        config: the resolved configuration.

    Raises:
        SpoolError: another process writes to the spool.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._notifier = Notifier()
        config.rings_dir.mkdir(parents=True, exist_ok=True)
        self._rings = ReaderSet(config.rings_dir)
        self._bases: dict[int, Counts] = {}
        self._met: set[int] = set()
        self._pace = Pace(
            round(config.spool.commit_interval_s * 1e9), round(config.spool.loss_window_s * 1e9)
        )
        self._trouble = self._told = ""
        self._starved: set[str] = set()  # who got nothing on a full disk: lanes, or the journal
        #: The session that was being recorded when the disk was lost; whether that was ours alone.
        self._own, self._was_own = "", False
        self._triggers = Triggers(config)
        #: Whether a session is to be recorded as soon as the disk is there.
        self._is_recording = self._triggers.is_recording
        self._archive: Archive | None = None
        self._open()
        self._commands = CommandServer(config.command_socket)

    def _open(self) -> None:
        """Open the spool, if its disk is there; else the next commit tries again."""
        try:
            self._archive = Archive(
                self._config,
                self._bases,
                own=self._own,
                was_own=self._was_own,
                is_recording=self._is_recording,
            )
        except NotMountedError as error:
            self._in_trouble(str(error))
        except OSError as error:
            if error.errno not in AWAY:
                raise
            self._in_trouble(f"cannot write: {error}")
        else:
            self._own, self._is_recording = "", self._is_recording and not self._archive.is_held

    def _lose(self, error: Exception) -> None:
        """Let go of a disk that cannot be trusted; the rings keep what is not durable on it."""
        self._in_trouble(f"the disk is lost: {error}")
        archive = self._archive
        if archive is not None:
            self._own = archive.recording.session.id if archive.recording else ""
            self._was_own = archive.spool.volume.is_own
            archive.close()
        self._archive = None
        for ring in self._rings:
            ring.position = ring.tail_position()

    @property
    def archive(self) -> Archive:
        """The spool, open.

        Raises:
            SpoolError: its disk is not there.
        """
        if self._archive is None:
            raise SpoolError(self._trouble)
        return self._archive

    @property
    def recording(self) -> Recording | None:
        """The session that is being recorded."""
        return self._archive.recording if self._archive else None

    def announce(self) -> Recording:
        """Begin a session; durable on return. Should the disk be full: as soon as it takes it."""
        archive, self._is_recording = self.archive, True
        return archive.announce()

    def end(self, reason: str) -> None:
        """End the session that is being recorded, if any; durable on return."""
        try:
            self.archive.end(reason, list(self._rings))
        except SpoolError as error:
            self._lose(error)
            raise
        self._is_recording = False

    def run(self, stop: Stop) -> None:
        """Commit at the configured interval until told to stop, then end the session."""
        self._notifier.ready("recovered")
        next_ns = boot_ns()
        while not stop.is_set():
            self.commit()
            if self._triggers.act(self):
                self._sign()  # right behind what was done for the rules that hold
            next_ns = max(next_ns + self._pace.interval_ns, boot_ns())
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
            asked = self._commands.fileno()
            if asked in select.select([stop.fileno(), asked], [], [], left_ns / 1e9)[0]:
                self._commands.serve(functools.partial(answer, self))

    def commit(self) -> None:
        """Bring to disk what the rings hold, and only then give their space back."""
        for text in self._rings.look():
            log.warning("%s", text)
        self._trouble = ""
        try:
            if self._archive is None:
                self._open()
            if self._archive is not None:
                self._commit(self._archive)
        except SpoolError as error:
            self._lose(error)
        except OSError as error:
            if error.errno not in AWAY:
                raise
            self._lose(error)
        if self._told and not self._trouble:
            log.warning("the disk takes everything again")
        self._told = self._trouble
        self._sign()

    def _commit(self, archive: Archive) -> None:
        began_ns = boot_ns()
        starved, self._starved = self._starved, set()
        if self._is_recording and archive.recording is None:
            self._begin(archive)
        for ring in self._in_order():
            self._take(ring, archive.recording)
        self._triggers.look(self._rings)
        archive.commit()
        for ring in self._rings:
            ring.free(ring.position)
        self._rings.retire()
        self._pace.over(began_ns)
        try:
            self._make_room(archive, starved | self._starved)
            archive.settle(self._pace.promise_ns, list(self._rings))
            archive.roll_over(list(self._rings))
        except OSError as error:
            if not self._is_refused("journal", error):
                raise

    def _in_order(self) -> list[RingReader]:
        """Return the rings, what matters most first: should the disk run full, it is there."""
        ranks = {ring: lane_rank(self._config, ring.schema) for ring in self._rings}
        return sorted(ranks, key=ranks.__getitem__, reverse=True)

    def _make_room(self, archive: Archive, starved: set[str]) -> None:
        if archive.room.keep(archive.recording, starved):
            # At once: another program may fill the disk again before the next commit.
            for ring in self._in_order():
                if ring.schema.lane in starved:
                    self._take(ring, archive.recording)

    def _begin(self, archive: Archive) -> None:
        # The disk was full when the session before ended.
        try:
            archive.room.keep(None, ["journal"])
            archive.announce()
        except OSError as error:
            if not self._is_refused("journal", error):
                raise

    def _take(self, ring: RingReader, recording: Recording | None) -> None:
        if recording is None and self._is_recording:
            return
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
            # Not raised in there: an argument that is raised keeps the ring's views and the ring.
            if not self._is_refused(ring.schema.lane, error):
                raise

    def _is_refused(self, who: str, error: OSError) -> bool:
        """Note that the disk is full; anything else it says is not survived so lightly."""
        if error.errno in FULL:
            self._starved.add(who)
            self._in_trouble(f"cannot write: {who}: {error}")
        return error.errno in FULL

    def _in_trouble(self, text: str) -> None:
        self._trouble = text
        if not self._told:
            log.warning("%s; the rings hold what they can", text)
            self._told = text

    def _sign(self) -> None:
        archive, recording = self._archive, self.recording
        session = recording.session if recording else None
        words = f"recording {session.id[:8]}" if session else "no session"
        facts = {
            "state": self._trouble or words,
            "trouble": self._trouble,
            "session": session.to_dict() if session else None,
            "free_bytes": archive.free_bytes() if archive else None,
            "commits": self._pace.to_dict(),
            "wear": archive.spool.volume.wear() if archive else {},
            "rules": self._triggers.holding(),
        }
        status.publish(self._config.spool.run_dir, "spool", facts)
        self._notifier.ping(self._trouble or words)

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        if self._archive is not None:
            self._archive.close()
        self._commands.close()
        self._triggers.close()
        self._rings.close()


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
