"""Builds that are wrong on purpose: the state machine must find each of them out.

Each replaces one thing in the code of this process and puts it back.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from recorder import durable, record, ring
from recorder.spool import compaction, journal, leftovers, recording, segment, volume, watermark
from recorder.spooler import Spooler
from tests.crash.replacing import replaced

if TYPE_CHECKING:
    from collections.abc import Callable


def acknowledge_before_sync() -> contextlib.AbstractContextManager[None]:
    """The commit says that all is durable, and nobody synced it."""
    return replaced((volume.Volume, "make_durable", lambda *_: None))


def free_before_commit() -> contextlib.AbstractContextManager[None]:
    """The ring gets its space back when it was read."""
    take = Spooler._take

    def taking(spooler: Spooler, one: ring.RingReader, *rest: Any) -> None:
        take(spooler, one, *rest)
        one.free(one.position)

    return replaced((Spooler, "_take", taking))


def no_sync_of_folders() -> contextlib.AbstractContextManager[None]:
    """Bytes are synced, the names of new files are not."""
    make_durable = volume.Volume.make_durable

    def files_only(own: volume.Volume, files: Any, folders: Any) -> None:
        del folders
        own.is_own = False  # syncfs would bring the names too
        make_durable(own, files, ())

    return replaced(
        (volume.Volume, "make_durable", files_only),
        *((place, "sync_directory", lambda _: None) for place in (journal, recording, durable)),
    )


def no_check_of_place() -> contextlib.AbstractContextManager[None]:
    """A record counts wherever it lies, whoever wrote it and when."""

    def in_ring(self: Any, position: int) -> Any:
        if position - self.tail_position() >= self.capacity_bytes:
            return None
        raw = b"".join(self._slices(position, record.HEADER_BYTES))
        fields = record.unpack_fields(raw)
        size = fields[record.PAYLOAD_BYTES]
        if not record.is_plausible(fields) or record.HEADER_BYTES + size > self.capacity_bytes:
            return None
        payload = self._slices(position + record.HEADER_BYTES, size)
        found = raw, fields[record.ROWS], record.HEADER_BYTES + size
        return found if record.verifies(raw, fields, payload) else None

    return replaced(
        (ring.RingReader, "_found_at", in_ring),
        (segment.SegmentReader, "_valid_at", valid_anywhere),
    )


def valid_anywhere(
    self: segment.SegmentReader, offset: int
) -> tuple[tuple[Any, ...], memoryview] | None:
    """Stand in for `SegmentReader._valid_at`: whatever has a right checksum is a record."""
    begin = offset + record.HEADER_BYTES
    if begin > self._end:
        return None
    raw = self._window.get(offset, begin)
    fields = record.unpack_fields(raw)
    end = begin + fields[record.PAYLOAD_BYTES]
    if not record.is_plausible(fields) or end > self._end:
        return None
    payload = self._window.get(begin, end)
    return (fields, payload) if record.verifies(raw, fields, (payload,)) else None


def no_cut_at_the_watermark() -> contextlib.AbstractContextManager[None]:
    """What a dead process left behind the watermark is taken for durable."""

    def whole(water: Any, found: Any, lane: str, since: str = "") -> Any:
        paths = found.segments(water.session_id, lane, since)
        return [(path, path.stat().st_size) for path in paths]

    return replaced(
        (watermark.Watermark, "durable", whole),
        (leftovers, "_remove_undurable", lambda *_: None),
    )


def no_sync_of_what_is_rewritten() -> contextlib.AbstractContextManager[None]:
    """A journal gets its name before its bytes are on the disk."""

    def rewrite(path: Any, lines: Any) -> None:
        draft = path.with_name(f".{path.name}")
        with draft.open("wb") as file:
            file.writelines(list(lines))
        draft.replace(path)
        durable.sync_directory(path.parent)

    return replaced(*((place, "replace", rewrite) for place in (journal, compaction)))


def no_burial_for_good() -> contextlib.AbstractContextManager[None]:
    """Tombstones are joined while a loss of power can still bring back what they gave up.

    Too rare for the chance of the machine: `test_compaction_cuts` goes through every instant.
    """
    return replaced((compaction, "_bury_for_good", lambda *_: None))


BUILDS: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    one.__name__: one
    for one in (
        acknowledge_before_sync,
        free_before_commit,
        no_sync_of_folders,
        no_check_of_place,
        no_cut_at_the_watermark,
        no_sync_of_what_is_rewritten,
    )
}
