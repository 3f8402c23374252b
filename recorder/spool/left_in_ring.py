"""What a ring holds between two positions: samples that have a number and are not on the disk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from recorder.clock import boot_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recorder.ring import RingReader
    from recorder.spool.lane_log import LaneLog


class Left(NamedTuple):
    """What was found.

    Args:
        rows: samples in records that verify.
        is_whole: whether all of them do; behind one that does not, none is looked for.
    """

    rows: int
    is_whole: bool


def left_in_ring(ring: RingReader, begin: int, end: int) -> Left:
    """Count the samples of a ring from one position to another; nothing is taken.

    Args:
        ring: the reader's side; its own position is not moved.
        begin: position of a record.
        end: position behind another; the lane may be writing beyond it.
    """
    rows = 0
    while begin < end:
        found = ring.record_at(begin)
        if found is None:
            return Left(rows, is_whole=False)
        rows += found[0].rows
        begin = found[0].end_position
    return Left(rows, is_whole=True)


@contextlib.contextmanager
def counted(lanes: Mapping[str, LaneLog], rings: Sequence[RingReader]) -> Iterator[None]:
    """Let the ledgers of a recording hold, meanwhile, what lies between its lanes and the disk.

    And what is due from lanes that have no ring: nobody else would say that they are missing.
    """
    mine = [ring for ring in rings if ring.schema.lane in lanes]
    missing = lanes.keys() - {ring.schema.lane for ring in mine}
    with contextlib.ExitStack() as stack:
        for ring in mine:
            stack.enter_context(lanes[ring.schema.lane].account.ahead(ring))
        for name in missing:
            stack.enter_context(lanes[name].account.awaited(boot_ns()))
        yield
