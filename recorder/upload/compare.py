"""What a server holds of a session against what was sent: everything is read back.

Rows are compared one by one with those that the spool still has, sample by sample: what it has
given up since, or cannot read any more, is told and takes no other row's place. Of these rows the
digest of their part's values that was journalled at delivery must do.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recorder.errors import RemoteForbiddenError, RemoteRefusedError
from recorder.upload.content import digest
from recorder.upload.difference import Difference, difference
from recorder.upload.reissue import lines_of
from recorder.upload.rows import (
    Extent,
    GivenUpError,
    batches_left,
    own_batches,
)
from recorder.upload.state import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from recorder.mosaico import MosaicoClient
    from recorder.upload.source import Source
    from recorder.upload.state import Progress, UploadState

    #: Reads a part's topic from its beginning.
    _Reading = Callable[[], Iterator[pa.RecordBatch]]


@dataclass
class Compared:
    """What came of it.

    Args:
        sequence: name of the session's sequence on the server.
        rows: how many were compared with the spool's, one by one.
        digest_rows: how many were compared by their part's digest.
        unknown_rows: how many could not be compared: the spool had given them up before anybody
            worked their digest out.
        gone: of parts of which the spool holds only some, by topic: the numbers of the samples that
            it lacks, the first and the last of each run.
        wrong: what is not as it was sent, in words; empty if all is.
    """

    sequence: str
    rows: int = 0
    digest_rows: int = 0
    unknown_rows: int = 0
    gone: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
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
            read = functools.partial(_read, client, f"{found.sequence}/{one.topic}", tick)
            try:
                _compare_part(found, one, _sent(state, source, one, sizes), read)
            except RemoteForbiddenError:
                raise
            except RemoteRefusedError as refusal:
                found.wrong.append(f"{one.topic}: {refusal}")
    return found


def _sent(
    state: UploadState, source: Source | None, one: Progress, sizes: Sizes
) -> Iterator[pa.RecordBatch]:
    """Make what was sent of a part once more, as far as the spool still holds it."""
    if source is None:
        raise GivenUpError(f"{one.name}: its session is not in the spool any more")
    part = one.part
    if part.is_own:
        made = own_batches(part, lambda: lines_of(part.lane, source.entries, state))
    else:
        made = batches_left(part, source.folder(part.lane))
    yield from Extent(sizes).over(made)


def _read(
    client: MosaicoClient, locator: str, tick: Callable[[int], None]
) -> Iterator[pa.RecordBatch]:
    for batch in client.read(locator):
        tick(batch.nbytes)
        yield batch


def _compare_part(
    found: Compared, one: Progress, sent: Iterator[pa.RecordBatch], read: _Reading
) -> None:
    try:
        told = difference(sent, read())
    except GivenUpError:
        told = Difference(gone=[(0, one.rows - 1)])
    else:
        there = told.rows + told.gone_rows
        if there != one.rows:
            told.add_wrong(f"{there} rows where {one.rows} were sent")
        elif told.gone:
            found.gone[one.topic] = told.gone
    found.rows += told.rows
    if told.gone:
        _compare_digest(found, one, told, read)
    if told.wrong:
        found.wrong.append(f"{one.topic}: {told.wrong}")


def _compare_digest(found: Compared, one: Progress, told: Difference, read: _Reading) -> None:
    """Judge a part of which the spool lacks some by the digest of all that was sent."""
    if not one.content:
        found.unknown_rows += told.gone_rows
    elif digest(read()) == one.content:
        found.digest_rows += told.gone_rows
        # Made without the rows in a hole, what follows it may differ from what was sent by the
        # nanosecond that keeps times rising.
        told.wrong = ""
    else:
        told.add_wrong("other values than were sent")
