"""A spool with three lanes, without processes, and a disk as small as a test wants it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recorder import config
from recorder.ring import RingReader
from recorder.session.ledger import LaneLedger
from recorder.spool.counts import Counts
from recorder.spool.journal import Journal
from recorder.spool.names import epoch_of, first_seqno_of
from recorder.spool.quota import Room
from recorder.spool.recording import Recording
from recorder.spool.spool import Spool
from recorder.spool.stock import disk_bytes
from tests.recorder.building import Producer, new_session, rows, schema

SEGMENT_BYTES = 65_536
RECORD_ROWS = 1000
SCHEMAS = {
    "camera": schema("camera", rate_hz=30.0, blob="jpeg"),
    "imu": schema("imu", rate_hz=500.0),
    "gps": schema("gps", rate_hz=10.0),
}


class Yard:
    """Lanes `camera`, `imu` and `gps`, their rings, and the session that is being recorded."""

    def __init__(self, directory: Path, **priorities: int) -> None:
        self.rings = directory / "rings"
        self.rings.mkdir(parents=True, exist_ok=True)
        self.config = config.Config(
            lanes=[
                config.Lane(name=name, driver="none", priority=priorities.get(name, 0))
                for name in SCHEMAS
            ],
            spool=config.Spool(
                directory=directory,
                run_dir=directory / "run",
                segment_bytes=SEGMENT_BYTES,
                free_floor_bytes=0,
            ),
            upload=config.Upload(mode="off"),
        )
        self.spool = Spool.make(self.config.spool_dir)
        self._producers = {
            name: Producer(self.rings, one, 1 << 18) for name, one in SCHEMAS.items()
        }
        self._readers = {name: RingReader(one.ring.path) for name, one in self._producers.items()}
        self._bases: dict[int, Counts] = {}
        self.recording = self._announce()

    def _announce(self) -> Recording:
        return Recording.announce(self.spool, new_session(list(SCHEMAS)), {}, SEGMENT_BYTES)

    @property
    def id(self) -> str:
        return self.recording.session.id

    def ledger(self, lane: str) -> LaneLedger:
        return next(one for one in self.recording.session.lanes if one.name == lane)

    def fill(self, *lanes: str, segments: int = 1) -> None:
        """Record on, until each lane has so many segments more that are sealed."""
        for lane in lanes:
            wanted = len(self.sealed(lane)) + segments
            while len(self.sealed(lane)) < wanted:
                self.put(lane)
                self.commit()

    def put(self, lane: str) -> None:
        one = self._producers[lane]
        if SCHEMAS[lane].blob is None:
            assert one.put(RECORD_ROWS)
        else:
            picture = bytes(RECORD_ROWS * 16)
            assert one.put(1, [rows(one.ring.state.seqno), picture])

    def commit(self) -> None:
        for reader in self._readers.values():
            self.recording.take(reader, self._bases.get(reader.epoch))
        self.recording.commit()
        for reader in self._readers.values():
            reader.free(reader.position)
        self.recording.settle()

    def next_session(self) -> str:
        """End the session and begin another; return the id of the one that ended."""
        ended = self.id
        self.recording.end("roll_over", is_destination=False)
        self._bases.update(self.recording.behind())
        self.recording = self._announce()
        return ended

    def sealed(self, lane: str, session_id: str = "") -> list[Path]:
        """Return the segments that are there and that the journal knows, oldest first."""
        session_id = session_id or self.id
        entries = self.spool.entries(session_id)
        known = {one["file"] for one in entries if one["entry"] == "sealed"}
        paths = self.spool.segments(session_id, lane)
        return [path for path in paths if path.name in known]

    def files(self, session_id: str = "") -> set[Path]:
        """Return every segment of a session that is there."""
        return set(self.spool.session_dir(session_id or self.id).glob("*/*.seg"))

    def tombstones(self, session_id: str = "") -> list[dict[str, Any]]:
        entries = self.spool.entries(session_id or self.id)
        return [one for one in entries if one["entry"] == "evicted"]

    def room(self, *, missing_bytes: int = 0, **spool: Any) -> Room:
        """Return what keeps room on a disk that lacks so many bytes (none: it has plenty)."""
        settings = dataclasses.replace(self.config.spool, **spool)
        if missing_bytes:
            known = self.known()
            used = known.stock.disk_bytes() + sum(
                disk_bytes(path) or 0 for path in self.recording.open_files()
            )
            settings = dataclasses.replace(settings, max_bytes=used - missing_bytes)
        return Room(self.spool, dataclasses.replace(self.config, spool=settings))

    def known(self, **spool: Any) -> Room:
        """Return what keeps room, knowing the whole spool already."""
        room = self.room(**spool)
        room.stock.learn(1 << 40)
        return room

    def bury(self, session_id: str, paths: list[Path], *, delivered: bool = False) -> None:
        """Give segments of a session that ended up, as the quota does."""
        stock = self.known().stock.sessions[session_id]
        log = Journal(self.spool.journal_path(session_id))
        for path in paths:
            segment = stock.segments[path.parent.name, path.name]
            segment.is_delivered = delivered
            log.record(segment.tombstone(is_leased=False))
            path.unlink()
        log.close()

    # --- the uploader's side

    def plan(self, number: int, paths: list[Path], last_rows: int | None = None) -> None:
        """Journal a part of whole segments, or of only the first rows of the last of them."""
        rows = self._rows(paths, last_rows)
        pieces = [[path.name, 0, 0, count] for path, count in zip(paths, rows, strict=True)]
        lane = paths[0].parent.name
        self.tell({"entry": "planned", "part": number, "lane": lane, "pieces": pieces})

    def receive(self, number: int, paths: list[Path], last_rows: int | None = None) -> None:
        """Journal the receipt of what `plan` planned."""
        first, count = first_seqno_of(paths[0].name), sum(self._rows(paths, last_rows))
        about = {"lane": paths[0].parent.name, "epoch": epoch_of(paths[0].name)}
        numbers = {"from_seqno": first, "to_seqno": first + count, "rows": count}
        self.tell({"entry": "receipt", "part": number, **about, **numbers})

    def _rows(self, paths: list[Path], last_rows: int | None) -> list[int]:
        counts = [self.rows(path) for path in paths]
        return counts if last_rows is None else [*counts[:-1], last_rows]

    def rows(self, path: Path) -> int:
        """Return how many samples a sealed segment of the running session holds, or held."""
        sealed = (one for one in self.spool.entries(self.id) if one["entry"] == "sealed")
        return next(int(one["rows"]) for one in sealed if one["file"] == path.name)

    def tell(self, entry: dict[str, Any]) -> None:
        log = Journal(self.config.upload_dir / self.id)
        log.record(entry)
        log.close()

    def close(self) -> None:
        self.recording.close()
        for reader in self._readers.values():
            reader.close()
        for one in self._producers.values():
            one.close()


@contextlib.contextmanager
def yard(directory: Path, **priorities: int) -> Iterator[Yard]:
    one = Yard(directory, **priorities)
    try:
        yield one
    finally:
        one.close()
