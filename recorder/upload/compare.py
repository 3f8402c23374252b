"""What a server holds of a session against what was sent: everything is read back.

Rows are compared one by one with those that the spool still has. Of a part that the spool has given
up since, the digest of its values that was journalled at delivery must do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recorder.errors import RemoteRefusedError
from recorder.upload.content import ContentDigest, digest
from recorder.upload.reissue import lines_of
from recorder.upload.rows import (
    Extent,
    GivenUpError,
    lane_batches,
    own_batches,
    part_lines,
)
from recorder.upload.state import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from recorder.mosaico import MosaicoClient
    from recorder.upload.source import Source
    from recorder.upload.state import Progress, UploadState


@dataclass
class Compared:
    """What came of it.

    Args:
        sequence: name of the session's sequence on the server.
        rows: how many were compared with the spool's, one by one.
        digest_rows: how many were compared by their part's digest.
        wrong: what is not as it was sent, in words; empty if all is.
    """

    sequence: str
    rows: int = 0
    digest_rows: int = 0
    wrong: list[str] = field(default_factory=list)


def compare(
    client: MosaicoClient, state: UploadState, source: Source | None, tick: Callable[[int], None]
) -> Compared:
    """Read everything back that was delivered of a session, and compare it.

    Args:
        client: the connection.
        state: what the session's journal says.
        source: the session in the spool, or None if it is not there any more.
        tick: called with the bytes of each batch that was read back.

    Raises:
        RemoteAwayError: the server is not there.
        RemoteForbiddenError: the key may not read.
    """
    found = Compared(state.sequence)
    most_bytes = min(client.most_batch_bytes, state.sizes.row_bytes)
    sizes = Sizes(min(most_bytes, state.sizes.batch_bytes), most_bytes)
    for one in state.parts:
        if one.is_delivered:
            _compare_part(found, client, one, _sent(state, source, one, sizes), tick)
    return found


def _sent(
    state: UploadState, source: Source | None, one: Progress, sizes: Sizes
) -> Iterator[pa.RecordBatch]:
    if source is None:
        raise GivenUpError(f"{one.name}: its session is not in the spool any more")
    part = one.part
    if part.is_own:
        lines = lines_of(part.lane, source.entries, state)
        made = own_batches(part, part_lines(part, lines))
    else:
        made = lane_batches(part, source.folder(part.lane))
    yield from Extent(sizes).over(made)


def _compare_part(
    found: Compared,
    client: MosaicoClient,
    one: Progress,
    sent: Iterator[pa.RecordBatch],
    tick: Callable[[int], None],
) -> None:
    locator = f"{found.sequence}/{one.topic}"

    def read() -> Iterator[pa.RecordBatch]:
        for batch in client.read(locator):
            tick(batch.nbytes)
            yield batch

    try:
        try:
            wrong = difference(sent, read())
            found.rows += one.rows
        except GivenUpError:
            if not one.content:  # the spool had given it up before anybody worked that out
                return
            wrong = "" if one.content == digest(read()) else "other values than were sent"
            found.digest_rows += one.rows
    except RemoteRefusedError as refusal:
        wrong = str(refusal)
    if wrong:
        found.wrong.append(f"{one.topic}: {wrong}")


def difference(sent: Iterator[pa.RecordBatch], there: Iterator[pa.RecordBatch]) -> str:
    """Return where two streams of rows differ first, in words; empty if they are equal.

    Raises:
        GivenUpError: `sent` cannot be made any more.
    """
    ours, theirs = _Rows(sent), _Rows(there)
    row = 0
    while (count := min(ours.left(), theirs.left())) > 0:
        mine, yours = ours.take(count), theirs.take(count)
        if not _are_equal(mine, yours):
            return f"row {row + _first_other(mine, yours)} is another"
        row += count
    if ours.left():
        return f"only {row} rows"
    return f"more than the {row} rows that were sent" if theirs.left() else ""


class _Rows:
    """A stream of batches that is taken in pieces of any length."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._rest: pa.RecordBatch | None = None

    def left(self) -> int:
        """Return how many rows can be taken at once; 0 at the end."""
        while self._rest is None or not self._rest.num_rows:
            self._rest = next(self._batches, None)
            if self._rest is None:
                return 0
        return int(self._rest.num_rows)

    def take(self, count: int) -> pa.RecordBatch:
        """Return the next rows, no more than are left."""
        batch = self._rest
        if batch is None:
            raise ValueError("nothing is left")
        self._rest = batch.slice(count)
        return batch.slice(0, count)


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
