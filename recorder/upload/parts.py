"""A part: what one stream into one topic holds, laid down before anything is sent.

A part of a lane is a run of its records, given by segments and offsets; of the recorder's own
topics (`SESSION_LOG`, `MARKS`, `SUMMARY`) a run of journal entries, given by their numbers. With
the frozen mapping of time and the bounds of a batch it is the same bytes at every attempt, by
whichever process and after whichever restart.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from recorder.clock import Mapping
from recorder.columns import BATCH_ROWS

#: Blobs of a batch: on the way there are two or three copies of it in memory.
BLOB_BYTES = 2 * 1024 * 1024
SESSION_LOG = "recorder/session"
MARKS = "recorder/marks"
SUMMARY = "recorder/summary"


@dataclass(frozen=True)
class Piece:
    """A run of records of one segment.

    Args:
        file: the segment's name.
        begin: offset of the first record.
        end: offset behind the last.
        rows: samples in them.
    """

    file: str
    begin: int
    end: int
    rows: int


@dataclass(frozen=True)
class Part:
    """One topic's content.

    Args:
        id: running number in the session's upload, from 0.
        lane: the lane, or one of the recorder's own topics.
        topic: the topic's path in the sequence, without the suffix of a repeated attempt.
        epoch: ring epoch of the records; 0 for own topics.
        from_seqno: number of the first sample, or of the first entry; a part begins where the
            lane's last part of this epoch ended, so lost samples lie inside.
        to_seqno: number behind the last.
        rows: how many.
        pieces: where the records lie; empty for own topics.
        digest: of the content, see `recorder.upload.plan`.
        mapping: boot time to UTC.
        after_ns: the first `timestamp_ns` is later than this, or None.
        device: who the lane's device said it is.
        on_error: what follows if the server refuses it: raise (the session's upload stops), ignore
            (the part is left out) or finalize (so is the rest of the lane).
        batch_rows: rows of a batch at most.
        batch_bytes: blobs and texts of a batch at most.
    """

    id: int
    lane: str
    topic: str
    epoch: int
    from_seqno: int
    to_seqno: int
    rows: int
    pieces: tuple[Piece, ...]
    digest: str
    mapping: Mapping
    after_ns: int | None = None
    device: dict[str, Any] = field(default_factory=dict)
    on_error: str = "raise"
    batch_rows: int = BATCH_ROWS
    batch_bytes: int = BLOB_BYTES

    @property
    def is_own(self) -> bool:
        """Whether it is of one of the recorder's own topics."""
        return not self.pieces

    def to_entry(self) -> dict[str, Any]:
        """Return the journal's entry ``planned``."""
        plain = dataclasses.asdict(self)
        del plain["id"]
        plain["pieces"] = [dataclasses.astuple(one) for one in self.pieces]
        return {"entry": "planned", "part": self.id, **plain}

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> Part:
        """Read what `to_entry` made; keys of a later version are passed over."""
        known = {key: entry[key] for key in cls.__dataclass_fields__ if key in entry}
        stored = known["mapping"]
        known["mapping"] = Mapping(
            tuple((at, utc) for at, utc in stored["knots"]),
            stored["source"],
            stored["uncertainty_ns"],
        )
        known["pieces"] = tuple(Piece(*one) for one in known["pieces"])
        return cls(id=entry["part"], **known)


def trimmed(mapping: Mapping, first_boot_ns: int, last_boot_ns: int) -> Mapping:
    """Return the same mapping with only the knots that matter between two boot times.

    >>> trimmed(Mapping(((0, 5), (10, 15), (20, 25), (30, 35)), "gps", 1), 12, 18).knots
    ((10, 15), (20, 25))
    """
    knots = mapping.knots
    first = max([i for i, (at, _) in enumerate(knots) if at <= first_boot_ns], default=0)
    behind = (i for i, (at, _) in enumerate(knots) if at >= last_boot_ns and i >= first)
    last = min(behind, default=len(knots) - 1)
    return dataclasses.replace(mapping, knots=knots[first : max(last, first) + 1])
