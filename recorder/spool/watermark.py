"""The watermark: how far the spool is durable, published after each commit.

One line like a journal's (`recorder.spool.journal`), in memory, replaced as a whole. No reader that
tells the outside goes beyond it, and after the spooler's own death only it is trusted: what lies
behind it is cut off and taken from the rings again. After a loss of power it is gone, and what
verifies counts.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recorder.spool import journal
from recorder.spool.places import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from recorder.spool.spool import Spool

#: So many of a lane's segments are looked at, whatever the journal says of them.
_NEWEST = 16


@dataclass(frozen=True)
class Watermark:
    """How far the session under recording is durable.

    Args:
        session_id: that session.
        ends: for each lane, the name of its open segment and its durable length in bytes; the
            lane's earlier segments are durable as a whole.
    """

    session_id: str
    ends: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def publish(self, file: Path) -> None:
        """Replace the watermark.

        The memory for the next one is taken at once: another program may fill all that there is,
        and without a watermark no ring is freed.
        """
        draft = file.with_suffix(".draft")
        line = journal.line_of({"session_id": self.session_id, "ends": self.ends})
        _write(draft, line)
        draft.replace(file)
        with contextlib.suppress(OSError):
            _write(draft, line)

    @classmethod
    def read(cls, file: Path | None) -> Watermark | None:
        """Return the last watermark, or None if none verifies."""
        found = journal.read(file) if file else []
        if not found:
            return None
        ends = {lane: (name, end) for lane, (name, end) in found[0]["ends"].items()}
        return cls(found[0]["session_id"], ends)

    def durable(self, spool: Spool, lane: str, since: str = "") -> list[tuple[Path, int]]:
        """Return the lane's segments of this session with the durable length of each, in order.

        Args:
            spool: the spool.
            lane: the lane.
            since: name of a segment of it; earlier ones of its ring are left out.
        """
        if lane not in self.ends:
            return []
        name, end_bytes = self.ends[lane]
        if since == name:  # mostly: and then the others, thousands maybe, need no look
            return [(spool.session_dir(self.session_id) / lane / name, end_bytes)]
        paths = spool.segments(self.session_id, lane, since)
        names = [path.name for path in paths]
        if name in names:
            at = names.index(name)
            whole = [(path, size_of(path)) for path in paths[:at]]
            return [*whole, (paths[at], min(end_bytes, size_of(paths[at])))]
        # It was given up meanwhile, so it was sealed: then so is all that was made before it.
        entries = spool.entries(self.session_id)
        sealed = {one["file"] for one in entries if one["entry"] == "sealed"}
        return [(path, size_of(path)) for path in paths if path.name in sealed]


def _write(draft: Path, line: bytes) -> None:
    """Write a draft over the one that is there: its memory is never let go."""
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.ftruncate(file, os.pwrite(file, line, 0))
    finally:
        os.close(file)


def durable(
    spool: Spool,
    session_id: str,
    lane: str,
    watermark: Watermark | None,
    sealed: Mapping[str, int] | None = None,
    *,
    since: str = "",
) -> list[tuple[Path, int]]:
    """Return a lane's segments and how far each may be read and told to the outside.

    Args:
        spool: the spool.
        session_id: a session in it.
        lane: a lane of the session.
        watermark: that of the machine on which a recorder may be running; None for a spool that
            nobody writes to (a pulled card, or after a loss of power): there all is durable.
        sealed: lengths by name that are believed without a look, but for the newest: what a device
            loses that lies about flushes is what it was given last.
        since: name of a segment; earlier ones of its ring are left out.
    """
    if watermark is not None and watermark.session_id == session_id:
        return watermark.durable(spool, lane, since)
    paths = spool.segments(session_id, lane, since)
    known = [(sealed or {}).get(path.name) for path in paths[:-_NEWEST]]
    lengths = itertools.zip_longest(paths, known)
    return [(path, size or size_of(path)) for path, size in lengths]
