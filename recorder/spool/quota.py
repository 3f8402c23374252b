"""Free space: which segments are given up when the disk runs full, and in which order.

First what the server holds for certain, then lanes with blobs before lanes without, each oldest
first; never an open segment. What is given up without having been delivered leaves a tombstone in
its session's journal, and the ledger counts it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.errors import DamagedError
from recorder.spool.journal import Journal
from recorder.spool.receipts import covers, receipts
from recorder.spool.segment import epoch_of, first_seqno_of, read_head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.config import Config
    from recorder.spool.receipts import Receipt
    from recorder.spool.recording import Recording
    from recorder.spool.spool import Spool


@dataclass(frozen=True)
class Evictable:
    """One sealed segment that could be given up.

    Args:
        session_id: its session.
        lane: its lane.
        path: its file.
        rows: samples in it.
        is_delivered: whether receipts cover all of them.
        has_blobs: whether its lane carries pictures.
    """

    session_id: str
    lane: str
    path: Path
    rows: int
    is_delivered: bool
    has_blobs: bool


def free_bytes(directory: Path) -> int:
    """Return how much the recorder may still write on a directory's disk."""
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize


def make_room(spool: Spool, config: Config, recording: Recording | None) -> None:
    """Give segments up until the configured floor is free, or nothing is left to give up.

    Each tombstone is durable before its file is removed.

    Args:
        spool: the spool.
        config: says where the floor and the receipts are.
        recording: the session that is being recorded, whose open segments stay, or None.
    """
    if recording is None:
        return
    for one in evictable(spool, config.upload_dir, recording.open_files()):
        if free_bytes(spool.directory) >= config.spool.free_floor_bytes:
            return
        tombstone = {
            "entry": "evicted",
            "lane": one.lane,
            "file": one.path.name,
            "rows": one.rows,
            "delivered": one.is_delivered,
        }
        if one.session_id == recording.session.id:
            recording.bury(tombstone)
        else:
            log = Journal(spool.journal_path(one.session_id))
            log.record(tombstone)
            log.close()
        one.path.unlink()


def evictable(spool: Spool, upload_dir: Path, open_files: set[Path]) -> list[Evictable]:
    """Return every segment that could be given up, the first to go first.

    Args:
        spool: the spool.
        upload_dir: the uploader's journals.
        open_files: segments that are being written.
    """
    found: list[Evictable] = []
    for session_id in spool.session_ids():
        given = receipts(upload_dir / session_id)
        entries = spool.entries(session_id)
        sealed = {one["file"]: one for one in entries if one["entry"] == "sealed"}
        for lane in spool.lanes(session_id):
            for path in spool.segments(session_id, lane):
                entry = sealed.get(path.name)
                if entry is not None and path not in open_files:
                    found += _evictable(session_id, path, entry, given)
    # Sorting is stable: within each class the sessions' and segments' own order, oldest first.
    return sorted(found, key=lambda one: (not one.is_delivered, not one.has_blobs))


def _evictable(
    session_id: str, path: Path, entry: dict[str, Any], given: list[Receipt]
) -> Iterator[Evictable]:
    try:
        has_blobs = read_head(path).schema.blob is not None
    except DamagedError:
        return
    lane, epoch = entry["lane"], epoch_of(path.name)
    covered = covers(given, lane, epoch, first_seqno_of(path.name), entry["seqno"])
    yield Evictable(session_id, lane, path, entry["rows"], covered, has_blobs)
