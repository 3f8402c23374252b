"""The directory of rings: which ring a lane goes on with, and which ones the spooler reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from recorder import service
from recorder.clock import boot_id
from recorder.errors import RingError
from recorder.ring import RingReader, RingWriter, write_empty

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.schema import LaneSchema

_SUFFIX = ".ring"


def _lane(path: Path) -> str:
    return path.name.rsplit(".", 2)[0]


def hold(directory: Path, lane: str) -> int:
    """Take the lock of a lane and return its descriptor, which holds it until it is closed.

    Raises:
        RingError: another process runs this lane.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = service.hold(directory / f"{lane}.lock")
    if lock is None:
        raise RingError(f"lane {lane}: another process runs it already")
    return lock


def running(directory: Path) -> list[str]:
    """Return the names of the lanes whose process runs: those whose lock is held."""
    found = []
    for path in directory.glob("*.lock"):
        try:
            os.close(hold(directory, path.stem))
        except RingError:
            found.append(path.stem)
    return found


def attach(directory: Path, schema: LaneSchema, capacity_bytes: int) -> RingWriter:
    """Go on with the lane's newest ring, or make one if that does not fit schema and size.

    An older one that fits is never taken up: the spooler removes it as soon as it is empty.
    """
    rings: list[RingWriter] = []
    for path in directory.glob(f"*{_SUFFIX}"):
        if _lane(path) == schema.lane:
            try:
                rings.append(RingWriter(path))
            except RingError:
                continue
    mine = [ring for ring in rings if ring.boot_id == boot_id()]
    newest = max(mine, key=lambda one: one.created_boot_ns, default=None)
    fits = newest and newest.schema == schema and newest.capacity_bytes == capacity_bytes
    chosen = newest if fits else None
    for ring in rings:
        if ring is not chosen:
            ring.close()
    return chosen or _make(directory, schema, capacity_bytes)


def _make(directory: Path, schema: LaneSchema, capacity_bytes: int) -> RingWriter:
    # Written beside its place and moved there, so that no half one is ever seen.
    epoch = int.from_bytes(os.urandom(8), "little") | 1
    path = directory / f"{schema.lane}.{epoch:016x}{_SUFFIX}"
    # One name for all: what a lane that was killed here left behind is written over.
    draft = directory / f"{schema.lane}.draft"
    write_empty(draft, schema, epoch, capacity_bytes)
    draft.rename(path)
    return RingWriter(path)


class ReaderSet:
    """Every ring of the directory that belongs to this boot, as the spooler reads them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._readers: dict[Path, RingReader] = {}
        self._foreign: set[Path] = set()
        self._removed: set[Path] = set()

    def __iter__(self) -> Iterator[RingReader]:
        """Yield the rings, each lane's oldest first."""
        return iter(sorted(self._readers.values(), key=lambda one: one.created_boot_ns))

    def look(self) -> list[str]:
        """Take up rings that appeared.

        Returns:
            Which files that look like rings were left alone and why, and which rings somebody
            removed; each told once.
        """
        refused = self._look_for_removed()
        for path in self._directory.glob(f"*{_SUFFIX}"):
            if path in self._readers or path in self._foreign:
                continue
            try:
                self._readers[path] = RingReader(path)
            except RingError as error:
                self._foreign.add(path)
                refused.append(f"left alone: {error}")
        return refused

    def _look_for_removed(self) -> list[str]:
        """Say which rings have no name any more; both sides still have them in memory."""
        new = [one for one in self._readers if one not in self._removed and not one.exists()]
        self._removed.update(new)
        return [
            f"{path}: somebody removed this ring. Its lane is recorded on until the lane or the "
            "spool is started anew; what the ring holds then is lost, and nobody can count it"
            for path in new
        ]

    def retire(self) -> None:
        """Remove rings whose lane has a newer one, once all they held is durable."""
        for ring in list(self):
            newest = max(
                (one for one in self if one.schema.lane == ring.schema.lane),
                key=lambda one: one.created_boot_ns,
            )
            if ring is not newest and ring.record_at(ring.position) is None:
                del self._readers[ring.path]
                ring.close()
                ring.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of every ring; the files stay."""
        for ring in self._readers.values():
            ring.close()
        self._readers.clear()
