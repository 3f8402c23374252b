"""Whole numbers of many rows, which mostly follow one another by the same step."""

from __future__ import annotations

import functools
from array import array
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

#: From so many on a run is cheaper made by Arrow than number by number.
_MANY = 256


class Numbers:
    """Gathers whole numbers below 2**63; no run of them becomes Python objects.

    >>> found = Numbers()
    >>> found.add(range(5, 11, 5))
    >>> found.add(range(15, 16, 5))
    >>> found.add([7])
    >>> found.laid_out().to_pylist()
    [5, 10, 15, 7]
    """

    def __init__(self) -> None:
        self._runs: list[range | array[int]] = []

    def add(self, found: Sequence[int]) -> None:
        """Take the next ones, at least one; a `range` costs the same however long it is."""
        last = self._runs[-1] if self._runs else None
        if isinstance(found, range):
            if isinstance(last, range) and found.step == last.step == found.start - last[-1]:
                self._runs[-1] = range(last.start, found.stop, last.step)
            else:
                self._runs.append(found)
        elif isinstance(last, array):
            last.extend(found)
        else:
            self._runs.append(array("q", found))

    def laid_out(self) -> pa.Array:
        """Return all that were added, as int64."""
        made: list[pa.Array] = []
        few = array("q")
        for run in self._runs:
            if isinstance(run, range) and len(run) >= _MANY:
                made += [_plain(few), _rising(run)] if few else [_rising(run)]
                few = array("q")
            else:
                few.extend(run)
        made += [_plain(few)] if few or not made else []
        return made[0] if len(made) == 1 else pa.concat_arrays(made)


def _plain(found: array[int]) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(found), [None, pa.py_buffer(found)])


def _rising(run: range) -> pa.Array:
    counted = _counted((len(run) - 1).bit_length()).slice(0, len(run))
    return pc.add(pc.multiply(counted, run.step), run.start)


@functools.lru_cache(maxsize=2)
def _counted(bits: int) -> pa.Array:
    """Return 0, 1 and so on, below a power of two."""
    return pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), 1 << bits), start=-1)
