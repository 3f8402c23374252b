"""Rewriting the journal of an ended recording to what is still needed of it.

Nine tenths of a journal are heartbeats, each the whole record of the session; nearly all the rest
are second copies of heads. Whatever else a journal holds stays as it is, and these go:

- what is said of a segment before it was given up (``segment``, ``sealed``), and all but the last
  ``segment`` line of one file;
- once nothing of the session will be sent any more: all heartbeats but the first that told the time
  and the last; and tombstones in a row become one, an entry ``evicted`` with ``last_file`` and
  ``files``: so many segments of one ring, from ``file`` to that one, and ``rows`` in all of them.

Until then the heartbeats are rows that the uploader plans and sends, and makes anew, byte for byte,
at every attempt.

At any instant the old journal is there or the new one, each whole (`recorder.durable`). A journal
with a damaged line stays as it is, for ``recorder verify`` to name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder.durable import replace, sync_directory
from recorder.spool import journal
from recorder.spool.names import epoch_of
from recorder.spool.places import discard, is_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Key = tuple[str, str]


def compact(path: Path, *, is_settled: bool) -> bool:
    """Rewrite a journal that nobody writes to; durable on return.

    Args:
        path: the journal of a session whose recording ended, in the session's folder.
        is_settled: whether nothing of the session will be sent any more.

    Returns:
        Whether it could be; False: it holds damage, and nothing was changed.

    Raises:
        OSError: the disk does not take it; the journal is whole, as it was or as it was to be.
    """
    plan = _Plan.of(path, is_settled=is_settled)
    if plan is None:
        return False
    if plan.joined:
        _bury_for_good(path.parent, plan.stones)
    replace(path, _kept(path, plan))
    return True


def _bury_for_good(folder: Path, stones: dict[int, dict[str, Any]]) -> None:
    """Make durable that what was given up is gone: the names of a joined row are not kept."""
    for lane in {one["lane"] for one in stones.values()}:
        for one in stones.values():
            if one["lane"] == lane:
                discard(folder / lane / one["file"])
        if is_folder(folder / lane):
            sync_directory(folder / lane)


@dataclass
class _Plan:
    """What goes and what comes, by the number of the line."""

    stones: dict[int, dict[str, Any]] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)
    #: Joined tombstones, to be written before a line.
    joined: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    _beats: list[int] = field(default_factory=list)
    _heads: dict[Key, int] = field(default_factory=dict)
    _sealed: dict[Key, int] = field(default_factory=dict)
    _end: int = 0

    @classmethod
    def of(cls, path: Path, *, is_settled: bool) -> _Plan | None:
        """Read a journal; None: it is damaged."""
        plan, first_beat = cls(), -1
        for number, text in _texts(path):
            if text is None:
                return None
            plan._end = number + 1
            if not text.startswith(journal.HEARTBEAT):
                plan._note(number, json.loads(text))
                continue
            plan._beats.append(number)
            if first_beat < 0 and json.loads(text)["session"]["heartbeat_utc_ns"]:
                first_beat = number
        plan._drop_buried()
        if is_settled:
            plan.dropped |= {*plan._beats[:-1]} - {first_beat}
            plan._join()
        return plan

    def _note(self, number: int, entry: dict[str, Any]) -> None:
        kind = entry["entry"]
        if kind == "evicted":
            self.stones[number] = entry
        elif kind in ("segment", "sealed"):
            found = self._heads if kind == "segment" else self._sealed
            key = entry["lane"], entry["file"]
            if key in found:  # said again, and that one counts
                self.dropped.add(found[key])
            found[key] = number

    def _drop_buried(self) -> None:
        for one in self.stones.values():
            key = one["lane"], one["file"]
            self.dropped |= {lines[key] for lines in (self._heads, self._sealed) if key in lines}

    def _join(self) -> None:
        """Join tombstones of one ring with nothing between them, on either side of the last record.

        That record knows of those before it.
        """
        last_beat = self._beats[-1] if self._beats else self._end
        for row in self._rows(last_beat):
            if len(row) > 1:
                self.dropped |= set(row)
                place = last_beat if row[0] < last_beat else self._end
                self.joined.setdefault(place, []).append(_one([self.stones[n] for n in row]))

    def _rows(self, last_beat: int) -> Iterator[list[int]]:
        there = set(self._heads) - {(one["lane"], one["file"]) for one in self.stones.values()}
        begun = [(lane, epoch_of(file), file, -1) for lane, file in there]
        buried = [
            (one["lane"], epoch_of(one["file"]), one["file"], number)
            for number, one in self.stones.items()
        ]
        row: list[int] = []
        before: tuple[object, ...] = ()
        for lane, epoch, _, number in sorted(begun + buried):
            delivered = self.stones[number]["delivered"] if number >= 0 else None
            kind = lane, epoch, delivered, number < last_beat
            if row and kind != before:
                yield row
                row = []
            before = kind
            row += [number] if number >= 0 else []
        yield row


def _one(stones: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one tombstone for several, the first segment's in front."""
    return {
        **stones[0],
        "last_file": stones[-1].get("last_file", stones[-1]["file"]),
        "files": sum(one.get("files", 1) for one in stones),
        "rows": sum(one["rows"] for one in stones),
        "leased": any(one.get("leased") for one in stones),
    }


def _kept(path: Path, plan: _Plan) -> Iterator[bytes]:
    number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file):
            yield from map(journal.line_of, plan.joined.pop(number, ()))
            if number not in plan.dropped and journal.text_of(line) is not None:
                yield line
    for rest in plan.joined.values():
        yield from map(journal.line_of, rest)


def _texts(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yield number and text of every line; None for damage, and nothing of what is torn."""
    is_bad = False
    with path.open("rb") as file:
        for number, line in enumerate(file):
            text = journal.text_of(line)
            if text is None:
                is_bad = True
                continue
            yield number, None if is_bad else text
