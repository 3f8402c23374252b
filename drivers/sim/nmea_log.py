"""A receiver's log as a source for the receiver model: cut into epochs, byte for byte."""

from __future__ import annotations

import collections
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND_NS = 1_000_000_000
MOST_STEP_NS = 5 * SECOND_NS
SAME_TIME_NS = 10_000_000

_TIME = re.compile(
    rb"\$..(?:(?:RMC|GGA|GNS|ZDA|GST),|GLL,(?:[^,]*,){4})(\d\d)(\d\d)(\d\d(?:\.\d*)?)[,*]"
)
#: The sentences that a receiver sends once per epoch, if at all.
_STATUS = re.compile(rb"\$(..(?:RMC|GGA|GNS|GLL)),[^$*]*\*[0-9A-Fa-f]{2}\s*")


class Burst(NamedTuple):
    """One epoch of a source.

    Args:
        utc_ns: UTC that it speaks of, in ns since 1970, for the model's log; None: not known.
        offset_ns: when its first byte leaves, after the start of play.
        data: what the receiver sends, line ends included.
    """

    utc_ns: int | None
    offset_ns: int
    data: bytes


def log_epochs(path: str | Path) -> list[Burst]:
    """Cut a receiver's log into epochs, byte for byte.

    An epoch begins with each line whose time field differs from the one before, and with a second
    RMC, GGA, GNS or GLL of the same talker (all that tells the epochs of a receiver without time).
    It is sent when its time of day says, counted from the first; where that stands still, goes
    back, jumps by more than 5 s or is missing, one usual step (the most frequent one, else 1 s)
    after the epoch before.

    Args:
        path: the log; lines at its head that begin with ``#`` are left out.

    Raises:
        OSError: it cannot be read.
    """
    lines = Path(path).read_bytes().splitlines(keepends=True)
    while lines and lines[0].startswith(b"#"):
        del lines[0]
    epochs: list[tuple[int | None, bytes]] = []
    said: set[bytes] = set()
    for line in lines:
        line_ns = _time_ns(line)
        status = _STATUS.fullmatch(line)
        address = {status[1]} if status else set()
        if epochs and _is_same(epochs[-1][0], line_ns) and not address & said:
            epochs[-1] = (_first_known(epochs[-1][0], line_ns), epochs[-1][1] + line)
        else:
            epochs.append((line_ns, line))
            said = set()
        said |= address
    offsets_ns = _offsets_ns([time_ns for time_ns, _ in epochs])
    return [
        Burst(None, offset_ns, data)
        for offset_ns, (_, data) in zip(offsets_ns, epochs, strict=True)
    ]


def usual_rate_hz(bursts: Sequence[Burst]) -> float:
    """Return the rate that most epochs keep, in Hz; 1.0 for fewer than two epochs."""
    steps_ns = [b.offset_ns - a.offset_ns for a, b in itertools.pairwise(bursts)]
    return SECOND_NS / collections.Counter(steps_ns).most_common(1)[0][0] if steps_ns else 1.0


def _time_ns(line: bytes) -> int | None:
    match = _TIME.match(line)
    if not match:
        return None
    return int((int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])) * SECOND_NS)


def _is_same(epoch_ns: int | None, line_ns: int | None) -> bool:
    return epoch_ns is None or line_ns is None or abs(epoch_ns - line_ns) < SAME_TIME_NS


def _first_known(epoch_ns: int | None, line_ns: int | None) -> int | None:
    return line_ns if epoch_ns is None else epoch_ns


def _offsets_ns(times_ns: list[int | None]) -> list[int]:
    steps_ns = [
        b - a if a is not None and b is not None else 0 for a, b in itertools.pairwise(times_ns)
    ]
    good = [step_ns for step_ns in steps_ns if 0 < step_ns <= MOST_STEP_NS]
    usual_ns = collections.Counter(good).most_common(1)[0][0] if good else SECOND_NS
    offsets_ns = [0] if times_ns else []
    for step_ns in steps_ns:
        offsets_ns.append(offsets_ns[-1] + (step_ns if 0 < step_ns <= MOST_STEP_NS else usual_ns))
    return offsets_ns
