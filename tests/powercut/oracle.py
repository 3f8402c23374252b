"""What was promised when: the books of the producers, and the notes that the spool process made.

The notes are lines of JSON in memory, appended by the spool process itself (`spool_process`), each
with the number of entries that the block log had then. What a note promises must be true of the
disk at every cut behind that number.

    commit    a commit begins: what is in the rings now will be in it
    over      it is over; the next one begins `interval_ns` after its beginning
    water     what was taken is durable; the watermark says so: `session`, `ends`
    free      a ring of `epoch` was given back up to `position`: the disk holds all before it
    announce, end, resume    a session is made, ended, taken up again (`begin`, then `done`)
    roll      a segment is made
    compact   the journal of an ended session is rewritten
    evict     a segment is given up
    start     the spool process begins
"""

from __future__ import annotations

import bisect
import json
import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.powercut.blocklog import Counter


class Notes:
    """Appends to the notes.

    Args:
        path: the file, in memory: it outlives the process and needs no sync.
        counter: the block log's.
    """

    def __init__(self, path: Path, counter: Counter) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self._counter = counter

    def note(self, what: str, boot_ns: int, **facts: Any) -> None:
        """Append one note, whole, in one write."""
        plain = {"what": what, "count": self._counter.read(), "boot_ns": boot_ns, **facts}
        os.write(self._file, json.dumps(plain).encode() + b"\n")


@dataclass(frozen=True)
class Put:
    """One record that a producer gave to its ring.

    Args:
        seqno: number of its first sample.
        rows: how many.
        begin_ns: CLOCK_BOOTTIME at which it was acquired.
        done_ns: when it was in the ring.
        end_position: where it ends in the ring.
        crc: CRC-32 of its payload.
        is_kept: whether the ring had room.
    """

    seqno: int
    rows: int
    begin_ns: int
    done_ns: int
    end_position: int
    crc: int
    is_kept: bool


@dataclass
class Book:
    """What one lane acquired, oldest first.

    Args:
        epoch: of its ring.
        puts: everything with rows.
    """

    epoch: int
    puts: list[Put] = field(default_factory=list)

    def freed(self, position: int) -> int:
        """Return how many puts lie before a position of the ring."""
        return bisect.bisect_right(self.puts, position, key=lambda one: one.end_position)

    def until(self, boot_ns: int) -> int:
        """Return how many puts were done before a time."""
        return bisect.bisect_left(self.puts, boot_ns, key=lambda one: one.done_ns)


@dataclass
class Promise:
    """What the disk must hold at one cut.

    Args:
        freed: by ring epoch, up to which position the disk holds all.
        waters: by session, the last watermark.
        announced: sessions that are there.
        ended: sessions whose end is there.
        taken_ns: what was acquired before is there: a commit began then, and was done.
        at_ns: when the power went.
        begun_ns: begin of the commit in flight, or None.
        interval_ns: distance between two commits that is in force.
        is_steady: whether no death of the spool process lies between `taken_ns` and the cut.
        during: what was going on.
    """

    freed: dict[int, int] = field(default_factory=dict)
    waters: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    taken_ns: int = 0
    at_ns: int = 0
    begun_ns: int | None = None
    interval_ns: int = 0
    is_steady: bool = False
    during: set[str] = field(default_factory=set)

    def hear(self, one: dict[str, Any]) -> None:
        """Take one more note, all earlier ones taken before."""
        getattr(self, f"_{one['what']}", self._other)(one)

    def _start(self, _: dict[str, Any]) -> None:
        self.begun_ns, self.interval_ns, self.is_steady = None, 0, False
        self.during = {"start"}

    def _commit(self, one: dict[str, Any]) -> None:
        self.begun_ns = one["boot_ns"]
        self.during = set()

    def _water(self, one: dict[str, Any]) -> None:
        self.waters[one["session"]] = one["ends"]
        if self.begun_ns is not None:
            # The first interval after a start is known only behind its commit.
            self.taken_ns, self.is_steady = self.begun_ns, self.interval_ns > 0

    def _free(self, one: dict[str, Any]) -> None:
        self.freed[one["epoch"]] = max(one["position"], self.freed.get(one["epoch"], 0))

    def _over(self, one: dict[str, Any]) -> None:
        self.begun_ns, self.interval_ns = None, one["interval_ns"]
        self.during = set()

    def _other(self, one: dict[str, Any]) -> None:
        what = one["what"]
        if not one.get("done"):
            self.during.add(what)
        elif what == "announce":
            self.announced.add(one["session"])
        elif what == "end":
            self.ended.add(one["session"])


class Oracle:
    """The notes of one logged run, and the lanes' books.

    Args:
        path: the notes.
        books: by lane.
    """

    def __init__(self, path: Path, books: dict[str, Book]) -> None:
        self.books = books
        lines = path.read_bytes().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        self.notes: list[dict[str, Any]] = [json.loads(line) for line in whole]

    def promise(self, count: int, at_ns: int) -> Promise:
        """Say what the disk must hold.

        Args:
            count: entries of the block log before the cut.
            at_ns: when the power went.
        """
        found = Promise(at_ns=at_ns)
        for one in self.notes:
            if one["count"] > count:
                break
            found.hear(one)
        return found

    def moments(self) -> dict[str, list[int]]:
        """Return, by what happened, how many entries the log had then."""
        found: dict[str, list[int]] = defaultdict(list)
        for one in self.notes:
            found[one["what"]].append(one["count"])
        return found
