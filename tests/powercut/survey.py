"""What lies on a disk, read by a reader that shares no code with the recorder's own."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder import record
from recorder.errors import DamagedError
from recorder.spool.names import epoch_of, first_seqno_of
from recorder.spool.segment import SegmentReader
from recorder.spool.spool import Spool
from recorder.spool.verify import verify
from tests.recorder.spool.independent_reader import read_segment

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.session.session import Session


@dataclass(frozen=True)
class Stored:
    """One data record: number of its first sample, samples, CRC-32 of its payload."""

    seqno: int
    rows: int
    crc: int


@dataclass(frozen=True)
class Tombstone:
    """Segments in a row that were given up.

    Args:
        epoch: their ring's.
        first_seqno: of the first.
        last_seqno: number of the last one's first sample.
        rows: in all of them.
        is_gone: whether none of them is there.
    """

    epoch: int
    first_seqno: int
    last_seqno: int
    rows: int
    is_gone: bool


@dataclass
class Survey:
    """A spool as it lies there.

    Args:
        sessions: the newest record of each session, oldest session first.
        stored: by lane, every data record, by the reader that shares no code with the recorder's.
        read: likewise, by the recorder's own.
        tombstones: by lane.
        ends: by session, lane and segment, where its last valid record ends.
        problems: what is wrong with it, by `recorder.spool.verify` or by the two readers.
    """

    sessions: dict[str, Session] = field(default_factory=dict)
    stored: dict[str, list[Stored]] = field(default_factory=dict)
    read: dict[str, list[Stored]] = field(default_factory=dict)
    tombstones: dict[str, list[Tombstone]] = field(default_factory=dict)
    ends: dict[tuple[str, str, str], int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, directory: Path) -> Survey:
        """Read a whole spool.

        Args:
            directory: the folder with the file ``FORMAT``.
        """
        self = cls()
        spool = Spool(directory)
        for session_id in spool.session_ids():
            self.sessions[session_id] = spool.session(session_id)
            for lane in spool.lanes(session_id):
                self._lane(spool, session_id, lane)
            self._bury(spool.session_dir(session_id), spool.entries(session_id))
        checked = verify(directory)
        self.problems += checked.problems
        for one in checked.sessions:
            self.problems += one.problems
            self.problems += [text for lane in one.lanes for text in lane.problems]
        return self

    def _lane(self, spool: Spool, session_id: str, lane: str) -> None:
        stored = self.stored.setdefault(lane, [])
        for path in sorted((spool.session_dir(session_id) / lane).glob("*.seg")):
            found = read_segment(path)
            mine: list[Stored] = []
            if found is not None:
                data = [one for one in found.records if one.kind == record.DATA]
                mine = [Stored(one.seqno, one.rows, zlib.crc32(one.payload)) for one in data]
                behind = [one.offset + record.HEADER_BYTES + len(one.payload) for one in data]
                self.ends[session_id, lane, path.name] = max(behind, default=0)
            own = _as_the_recorder_reads(path)
            if mine != own:
                self.problems.append(f"{path}: the two readers do not agree")
            stored += mine
            self.read.setdefault(lane, []).extend(own)

    def _bury(self, folder: Path, entries: list[dict[str, Any]]) -> None:
        for one in entries:
            if one["entry"] == "evicted":
                name, last = one["file"], one.get("last_file", one["file"])
                there = {path.name for path in (folder / one["lane"]).glob(f"*-{name[13:]}")}
                is_gone = not any(name <= other <= last for other in there)
                numbers = first_seqno_of(name), first_seqno_of(last)
                stone = Tombstone(epoch_of(name), *numbers, one["rows"], is_gone)
                self.tombstones.setdefault(one["lane"], []).append(stone)


def _as_the_recorder_reads(path: Path) -> list[Stored]:
    try:
        with SegmentReader(path) as segment:
            return [
                Stored(header.seqno, header.rows, zlib.crc32(payload))
                for _, header, payload in segment.records()
                if header.kind == record.DATA
            ]
    except DamagedError:
        return []


def has_torn(directory: Path) -> bool:
    """Tell whether any segment has bytes, other than zeros, that are no valid record.

    Args:
        directory: a spool, or where one was to be.
    """
    for path in directory.glob("sessions/*/*/*.seg"):
        raw = path.read_bytes()
        found = read_segment(path)
        if found is None:
            if any(raw):
                return True
        elif any(any(raw[at : at + size]) for at, size in found.bad):
            return True
    return False
