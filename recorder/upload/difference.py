"""How the rows that a server holds differ from those that the spool gives.

Both come in the order of their samples' numbers, in batches of any length. A row is compared with
the one of the same number, so that a hole on one side puts no other row in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from recorder.upload.content import ContentDigest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where a lane's rows tell their number; the recorder's own topics have none.
_COUNTER = ("header", "sample_counter")


@dataclass
class Difference:
    """What came of it.

    Args:
        rows: how many both hold.
        gone: numbers of those that only the server holds, the first and the last of each run.
        wrong: what else is different first, in words; empty if nothing is.
    """

    rows: int = 0
    gone: list[tuple[int, int]] = field(default_factory=list)
    wrong: str = ""

    @property
    def gone_rows(self) -> int:
        """How many only the server holds."""
        return sum(last - first + 1 for first, last in self.gone)

    def add_gone(self, rows: _Numbered) -> None:
        """Note rows that only the server holds."""
        for number in rows.numbers.to_pylist():
            if self.gone and self.gone[-1][1] == number - 1:
                self.gone[-1] = (self.gone[-1][0], number)
            else:
                self.gone.append((number, number))

    def add_wrong(self, what: str) -> None:
        """Note a difference; only the first is told."""
        self.wrong = self.wrong or what


def difference(sent: Iterator[pa.RecordBatch], there: Iterator[pa.RecordBatch]) -> Difference:
    """Return how two streams of rows differ, each in the order of its rows' numbers.

    Raises:
        GivenUpError: `sent` cannot be made any more.
    """
    ours, theirs = _Rows(sent), _Rows(there)
    found = Difference()
    while theirs.next is not None:
        if ours.next is None:
            found.add_gone(theirs.take(len(theirs.next)))
        elif same := ours.next.same(theirs.next):
            mine, yours = ours.take(same), theirs.take(same)
            found.rows += same
            if not _are_equal(mine.batch, yours.batch):
                found.add_wrong(f"{mine.name(_first_other(mine.batch, yours.batch))} is another")
        elif ours.next.first > theirs.next.first:
            found.add_gone(theirs.take(theirs.next.before(ours.next.first)))
        else:
            found.add_wrong(f"{ours.next.name(0)} is missing")
            ours.take(ours.next.before(theirs.next.first))
    if ours.next is not None:
        found.add_wrong(f"{ours.next.name(0)} and what follows are missing")
    return found


@dataclass(frozen=True)
class _Numbered:
    """Rows with their numbers: of samples, or, in the recorder's own topics, of rows."""

    batch: pa.RecordBatch
    numbers: pa.Array

    @classmethod
    def of(cls, batch: pa.RecordBatch, row: int) -> _Numbered:
        """Number the rows of a batch that begins with row `row` of its stream."""
        column, counter = _COUNTER
        if column in batch.schema.names:
            return cls(batch, batch.column(column).field(counter))
        return cls(batch, pa.array(range(row, row + batch.num_rows), pa.int64()))

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def first(self) -> int:
        """The first number."""
        return int(self.numbers[0].as_py())

    def name(self, at: int) -> str:
        """Return what a row is called."""
        what = "sample" if _COUNTER[0] in self.batch.schema.names else "row"
        return f"{what} {self.numbers[at]}"

    def same(self, other: _Numbered) -> int:
        """Return how many rows at the beginning have the same numbers."""
        count = min(len(self), len(other))
        found = _index(pc.equal(self.numbers[:count], other.numbers[:count]), value=False)
        return count if found < 0 else found

    def before(self, number: int) -> int:
        """Return how many rows at the beginning have lower numbers."""
        found = _index(pc.less(self.numbers, number), value=False)
        return len(self) if found < 0 else found

    def cut(self, count: int) -> tuple[_Numbered, _Numbered]:
        """Return the first rows, and the rest."""
        return (
            _Numbered(self.batch.slice(0, count), self.numbers.slice(0, count)),
            _Numbered(self.batch.slice(count), self.numbers.slice(count)),
        )


class _Rows:
    """A stream of batches that is taken in pieces of any length; `next` is None at its end."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._row = 0
        self.next: _Numbered | None = None
        self._go_on()

    def take(self, count: int) -> _Numbered:
        """Return the next rows, no more than `next` holds."""
        if self.next is None:
            raise ValueError("nothing is left")
        taken, self.next = self.next.cut(count)
        self._row += count
        self._go_on()
        return taken

    def _go_on(self) -> None:
        while self.next is None or not len(self.next):
            batch = next(self._batches, None)
            self.next = None if batch is None else _Numbered.of(batch, self._row)
            if batch is None:
                return


def _index(flags: pa.BooleanArray, *, value: bool) -> int:
    return int(pc.index(flags, pa.scalar(value)).as_py())


def _are_equal(mine: pa.RecordBatch, yours: pa.RecordBatch) -> bool:
    # Not Arrow's own `equals`: two NaN in the same place are the same value here.
    digests = ContentDigest(), ContentDigest()
    for each, batch in zip(digests, (mine, yours), strict=True):
        each.add(batch)
    return bool(mine.schema == yours.schema) and digests[0].text == digests[1].text


def _first_other(mine: pa.RecordBatch, yours: pa.RecordBatch) -> int:
    low, high = 0, int(mine.num_rows)
    while high - low > 1:
        middle = (low + high) // 2
        if _are_equal(mine.slice(low, middle - low), yours.slice(low, middle - low)):
            low = middle
        else:
            high = middle
    return low
