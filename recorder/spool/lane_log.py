"""One lane of the session that is being recorded: its segments on disk and its account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.clock import boot_ns
from recorder.errors import DamagedError
from recorder.spool.account import Account
from recorder.spool.counts import Counts
from recorder.spool.places import is_folder, set_beside
from recorder.spool.recover import Piece, pieces
from recorder.spool.segment import HEAD_BYTES, SegmentHead
from recorder.spool.segment_writer import SegmentWriter
from recorder.spool.trail import Trail
from recorder.spool.validity import Validity

if TYPE_CHECKING:
    from pathlib import Path

    from recorder import record
    from recorder.ring import RingReader
    from recorder.run import Run
    from recorder.session.ledger import LaneLedger
    from recorder.spool.journal import Journal

#: Segments of lanes without blobs are no longer: their zeros are written when they are made.
SMALL_BYTES = 1024 * 1024


class LaneLog:
    """Takes what a lane's rings hold and appends it to the lane's segments.

    Args:
        directory: the lane's folder in the session's; made when the first record comes.
        session_id: the session, 16 bytes.
        ledger: the lane's account, kept up to date here.
        log: the session's journal.
        segment_bytes: a segment is sealed before it grows beyond this.
        settled_boot_ns: see `Account`.
    """

    def __init__(
        self,
        directory: Path,
        session_id: bytes,
        ledger: LaneLedger,
        log: Journal,
        *,
        segment_bytes: int,
        settled_boot_ns: int,
    ) -> None:
        self._directory = directory
        self._session_id = session_id
        self.account = Account(ledger, log, settled_boot_ns)
        self._validity = Validity(ledger)
        self.name = ledger.name
        self._journal = log
        self._segment_bytes = segment_bytes
        self._segment: SegmentWriter | None = None
        #: The head of a segment that the disk had no room for: it stands in the journal already.
        self._due: SegmentHead | None = None
        self._span: Piece | None = None
        self._sealed_end: tuple[str, int] | None = None
        #: Lines about sealed segments: of those that are not durable yet, and of those that are.
        self._sealed: list[dict[str, Any]] = []
        self._durable: list[dict[str, Any]] = []
        self._unsynced: list[SegmentWriter] = []
        self._trail = Trail()
        #: Folders that got an entry since they were durable.
        self.folders: set[Path] = set()
        #: Anchors that were taken and nobody asked for yet.
        self.anchors: list[record.Anchor] = []
        self._next_position = 0
        #: Bytes of records that its segments took, those that were given up among them.
        self.taken_bytes = 0
        #: What recovery found torn: bytes behind the last records, stretches between records, and
        #: the numbers that are missing there.
        self._torn_bytes = 0
        self._holes: list[tuple[str, int, int]] = []
        self._gaps: list[tuple[int, int, int]] = []

    def take(self, ring: RingReader, base: Counts | None) -> None:
        """Append every record that the ring holds; durable when the recording is committed.

        Args:
            ring: a ring of this lane; its `position` steps behind what was appended.
            base: counts of the ring's epoch where the last session stopped taking from it, or None
                if nobody took from it before.

        Raises:
            OSError: the disk did not take it; what was appended is kept, the rest stays in the
                ring.
        """
        most_bytes = self._segment_bytes - HEAD_BYTES - ring.schema_bytes
        while (run := ring.run(min(self._room(), most_bytes))) is not None:
            try:
                if not self._goes_on(run):
                    self._begin_segment(ring, run.first)
                self._append(run, base)
            except OSError:
                ring.position = run.first.position
                raise

    def _room(self) -> int:
        """Return how many bytes the open segment still takes."""
        return self._segment_bytes - (self._segment.end_bytes if self._segment else 0)

    def _goes_on(self, run: Run) -> bool:
        segment, first = self._segment, run.first
        if segment is None or segment.head.epoch != first.epoch:
            return False
        if self._next_position != first.position:
            return False
        if first.seqno == segment.head.first_seqno:
            return True  # the next segment would have the same name
        return run.size_bytes <= self._room()

    def _begin_segment(self, ring: RingReader, header: record.Header) -> None:
        self.seal()
        if not is_folder(self._directory):
            set_beside(self._directory, is_folder=True)
            self._directory.mkdir()
            self.folders.add(self._directory.parent)
        if ring.schema.blob is None:
            self._segment_bytes = min(self._segment_bytes, SMALL_BYTES)
        head = SegmentHead(
            header.epoch,
            header.position,
            ring.boot_id,
            self._session_id,
            header.seqno,
            self._due.created_boot_ns if self._due else boot_ns(),
            ring.schema,
        )
        if head != self._due:
            line = {"entry": "segment", "lane": self.name, "file": head.name}
            self._journal.append({**line, "head": head.pack().hex()})
            self._due = head
        self._segment = SegmentWriter(self._directory, head, self._segment_bytes)
        self._due = None
        self._span = None
        self._validity.begin(ring.schema)
        self._next_position = header.position
        self._unsynced.append(self._segment)
        self.folders.add(self._directory)

    def _append(self, run: Run, base: Counts | None) -> None:
        segment = self._segment
        if segment is None:
            raise AssertionError("a segment is begun before records are appended")
        self.account.enter(run.opening, base)
        segment.append(run.memory, run.rows)
        self.taken_bytes += run.size_bytes
        if segment not in self._unsynced:
            self._unsynced.append(segment)
        piece = Piece.of(run)
        self.account.add(piece)
        self._validity.take(run.memory)
        self._next_position = piece.behind.position
        self._span = piece.after(self._span)
        self.anchors += run.anchors

    def files(self) -> list[int]:
        """Return the descriptors of every file that was written since it was durable."""
        return [one.file for one in self._unsynced]

    def synced(self) -> None:
        """Note that all that was written up to now is durable."""
        for segment in self._unsynced:
            if segment is not self._segment:
                segment.close()
                self._trail.add(segment.path, segment.end_bytes)
        self._unsynced.clear()
        self.folders.clear()
        self._durable += self._sealed
        self._sealed.clear()

    def settle(self) -> None:
        """Journal which sealed segments are durable.

        Recovery and eviction would else have to read them for what these lines say.

        Raises:
            OSError: the journal does not take it; the next call tries again.
        """
        while self._durable:
            self._journal.append(self._durable[0])
            del self._durable[0]

    def seal(self) -> None:
        """End the open segment; nothing will be appended to it any more."""
        segment = self._segment
        if segment is None:
            return
        self._segment = None
        if self._span is None:
            # Nothing came into it, the disk was full: the next one will have its name.
            segment.close()
            segment.path.unlink()
            self._unsynced = [one for one in self._unsynced if one is not segment]
            return
        segment.cut()
        if segment not in self._unsynced:
            self._unsynced.append(segment)
        held = {"rows": segment.rows, "bytes": segment.end_bytes, **self._validity.sealed()}
        line = {"entry": "sealed", "lane": self.name, "file": segment.path.name}
        self._sealed.append({**line, **self._span.to_dict(), **held})
        self._sealed_end = (segment.path.name, segment.end_bytes)

    def break_off(self) -> None:
        """Seal the open segment, unless the next one would have its name."""
        if self._segment is not None and self._segment.rows:
            self.seal()

    @property
    def end(self) -> tuple[str, int] | None:
        """Name and length of the newest segment, or None."""
        segment = self._segment
        if segment is None or self._span is None:
            return self._sealed_end
        return segment.path.name, segment.end_bytes

    def resume(
        self,
        entries: list[dict[str, Any]],
        segments: list[tuple[Path, int]],
        *,
        is_this_boot: bool,
    ) -> list[str]:
        """Take up the account and the open segment after the death of the process that held them.

        What lies behind the durable ends is cut off: the rings still hold it.

        Args:
            entries: the session's journal.
            segments: the lane's segments in order, with the durable length of each.
            is_this_boot: whether only the process died, and not the machine.

        Returns:
            Which segments cannot be read, with the reason; they stay where they are.
        """
        if is_this_boot:
            # Perhaps they were made, and the process died before it synced them.
            made = (self._directory, *list(self._directory.parents)[:2])
            self.folders |= {folder for folder in made if folder.is_dir()}
        mine = [one for one in entries if one.get("lane") in {None, self.name}]
        for one in mine:
            if one["entry"] == "epoch":
                self.account.restore(Counts.from_dict(one))
        self.taken_bytes = sum(end_bytes for _, end_bytes in segments)
        self._validity.resume(mine)
        refused: list[str] = []
        for piece in pieces(mine, segments):
            if isinstance(piece, DamagedError):
                refused.append(str(piece))
            else:
                self._take_up(piece, is_this_boot=is_this_boot)
        if not is_this_boot and (self._torn_bytes or self._holes or self._gaps):
            line = {"entry": "recovered", "lane": self.name, "torn_bytes": self._torn_bytes}
            self._journal.append({**line, "holes": self._holes, "gaps": self._gaps})
        return refused

    def _take_up(self, piece: Piece, *, is_this_boot: bool) -> None:
        path = piece.path
        if piece.is_open and path is not None:
            self._note_torn(path, piece)
        if not piece.behind.epoch:
            # Without a record. In this boot the ring still holds the one that it was made for, and
            # the next segment will have its name.
            if path is not None and piece.is_open and is_this_boot:
                path.unlink()
            return
        self.account.add_found(piece)
        self._next_position = piece.behind.position
        if not piece.is_evicted and path is not None:
            self._sealed_end = (path.name, piece.end_bytes)
            if piece.is_open:
                self.seal()  # the machine died before the journal had the line of the one before
                self._segment = SegmentWriter.reopen(path, piece.end_bytes, piece.rows)
                self._validity.reopen(path, piece.end_bytes)
                self._unsynced.append(self._segment)
                self._span = piece

    def _note_torn(self, path: Path, piece: Piece) -> None:
        epoch, due = piece.behind.epoch, self.account.next_seqno(piece.behind.epoch)
        self._torn_bytes += piece.torn_bytes
        self._holes += [(path.name, *hole) for hole in piece.holes]
        self._gaps += [(epoch, *gap) for gap in piece.gaps]
        begins_late = due is not None and due != piece.before.seqno
        if begins_late and not (piece.gaps and piece.gaps[0][1] == piece.before.seqno):
            self._gaps.append((epoch, due or 0, piece.before.seqno))

    def close(self) -> None:
        """Close every file; may be called twice."""
        for segment in (*self._unsynced, self._segment):
            if segment is not None:
                segment.close()
        self._segment = None
        self._unsynced.clear()
