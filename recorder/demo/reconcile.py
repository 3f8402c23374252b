"""Does it add up, row by row? Produced by the models, stored in the spool, read back.

For each lane: every stored row is one that the model produced, none twice; what was produced and is
not stored is in the counted losses, no more and no less; every stored row was read back, once, as
the right class, and every column holds what the model stated.
"""

from __future__ import annotations

import bisect
import itertools
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recorder import record
from recorder.demo import oracle
from recorder.spool.segment import SegmentReader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recorder.demo.oracle import Produced
    from recorder.session.session import Session
    from recorder.spool.spool import Spool

CLASSES = {"gps": "GPS", "imu": "IMU", "camera": "CompressedImage"}
LOGS = {"gps": "gps.jsonl", "imu": "imu.csv", "camera": "camera.jsonl"}
#: Two ways to compute the same product may differ in the last places.
CLOSE = 1e-9
#: How far all times of a recording may stand from the models' own, once one offset is taken off.
TIME_SPREAD_NS = 60_000_000
#: A silence shorter than this is not booked while it lasts (`recorder.booking`).
SILENCE_NS = 1_000_000_000


@dataclass
class LaneResult:
    """The account of one lane, as the demo's table shows it.

    Args:
        name: the lane.
        produced: by the device's model, from the first sample that was heard to the last.
        silent: slots in which the contract had a sample and the model made none.
        acquired: samples that got a number.
        lost: by cause, from the session record.
        stored: rows in the spool.
        delivered: rows the recorder says the server holds.
        read_back: rows the SDK gave.
        read_as: the SDK's class or classes.
        values: how many values were compared with the models' logs.
        wrong: how many of them differ.
        findings: what does not add up; empty if everything does.
    """

    name: str
    produced: int = 0
    silent: int = 0
    acquired: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    stored: int = 0
    delivered: int = 0
    read_back: int = 0
    read_as: str = ""
    values: int = 0
    wrong: int = 0
    findings: list[str] = field(default_factory=list)

    def check(self, holds: bool, finding: str) -> None:  # a finding is told, never raised
        """Note a finding unless it holds."""
        if not holds:
            self.findings.append(f"{self.name}: {finding}")


@dataclass(frozen=True)
class Row:
    """One row of the spool."""

    seqno: int
    boot_ns: int


def stored_rows(spool: Spool, session_id: str, lane: str) -> tuple[list[Row], int]:
    """Return the rows of a lane in the spool, and when the lane stopped (0 if it does not say)."""
    rows: list[Row] = []
    stopped_boot_ns = 0
    for path in spool.segments(session_id, lane):
        with SegmentReader(path) as segment:
            for _, header, payload in segment.records():
                rows += [
                    Row(header.seqno + index, header.boot_ns + index * header.period_ns)
                    for index in range(header.rows)
                ]
                if header.kind == record.EVENT and json.loads(bytes(payload))["event"] == "stopped":
                    stopped_boot_ns = header.boot_ns
                del payload  # the segment's memory is let go of below
    return rows, stopped_boot_ns


def reconcile_lane(
    name: str, logs: Path, spool: Spool, session: Session, read: Sequence[dict[str, Any]]
) -> LaneResult:
    """Compare one lane's account, spool and read-back with the model's own log.

    Args:
        name: the lane.
        logs: folder of the models' logs.
        spool: the spool.
        session: the final session record.
        read: the lane's rows as the SDK gave them.
    """
    account = next(one for one in session.lanes if one.name == name)
    rows, stopped_ns = stored_rows(spool, session.id, name)
    produced = getattr(oracle, name)(logs / LOGS[name])
    result = LaneResult(
        name,
        produced=len(produced),
        silent=_silent(produced, account.rate_hz, stopped_ns),
        acquired=account.acquired,
        lost=account.lost,
        stored=len(rows),
        delivered=account.delivered,
        read_back=len(read),
        read_as=", ".join(sorted({row["class"] for row in read})),
    )
    _check_counts(result, account)
    origin = _match(result, rows, produced, account.rate_hz)
    _check_read_back(result, origin, read)
    return result


def _silent(produced: Sequence[Produced], rate_hz: float, stopped_ns: int) -> int:
    period_ns = 1e9 / rate_hz
    times = [one.boot_ns for one in produced]
    inside = sum(max(round((b - a) / period_ns) - 1, 0) for a, b in itertools.pairwise(times))
    tail_ns = stopped_ns - times[-1] if times else 0
    booked = int(tail_ns // period_ns) - 1 if tail_ns > max(SILENCE_NS, 3 * period_ns) else 0
    return inside + booked


def _check_counts(result: LaneResult, account: Any) -> None:  # noqa: ANN401 - a LaneLedger
    lost = sum(result.lost.values())
    missing = result.produced + result.silent - result.stored
    # Where a silence lasts until the end, its last slot may fall on either side of the stop.
    slack = 1 if result.silent else 0
    result.check(
        abs(missing - lost) <= slack,
        f"{missing} produced or due samples are not stored, but {lost} are counted as lost",
    )
    result.check(account.stored == result.stored, f"the record says {account.stored} stored")
    result.check(not account.imbalances(), "; ".join(account.imbalances()))
    result.check(result.read_back == result.stored, f"{result.read_back} rows read back")
    result.check(result.delivered == result.stored, f"{result.delivered} delivered")
    result.check(result.read_as == CLASSES[result.name], f"read back as {result.read_as!r}")
    result.check(bool(result.stored), "nothing was stored")


def _match(
    result: LaneResult, rows: Sequence[Row], produced: Sequence[Produced], rate_hz: float
) -> dict[int, Produced]:
    """Find for each row of the spool, by its time, the sample that the model made."""
    times = [one.boot_ns for one in produced]
    origin: dict[int, Produced] = {}
    far = 0
    for row in rows:
        after = bisect.bisect_left(times, row.boot_ns)
        near = [index for index in (after - 1, after) if 0 <= index < len(times)]
        best = min(near, key=lambda index: abs(times[index] - row.boot_ns), default=None)
        if best is None or abs(times[best] - row.boot_ns) > 0.5e9 / rate_hz:
            far += 1
        else:
            origin[row.seqno] = produced[best]
    result.check(not far, f"{far} stored rows are at no time of the model's")
    twice = [
        number for number, times in Counter(p.number for p in origin.values()).items() if times > 1
    ]
    result.check(not twice, f"samples {twice[:5]} of the model were stored twice")
    result.check(len({row.seqno for row in rows}) == len(rows), "a number was stored twice")
    return origin


def _check_read_back(
    result: LaneResult, origin: dict[int, Produced], read: Sequence[dict[str, Any]]
) -> None:
    counters = Counter(row.get("header.sample_counter") for row in read)
    result.check(set(counters) == set(origin), "the numbers read back are not those stored")
    result.check(max(counters.values(), default=0) <= 1, "a row was read back twice")
    wrong: list[str] = []
    offsets: list[int] = []
    for row in read:
        made = origin.get(row.get("header.sample_counter", -1))
        if made is None:
            continue
        offsets.append(row["timestamp_ns"] - made.boot_ns)
        for column, stated in made.stated.items():
            result.values += 1
            if not _holds(row.get(column), stated, made):
                wrong.append(
                    f"{column} of sample {made.number}: {row.get(column)}, stated {stated}"
                )
    result.wrong = len(wrong)
    result.check(not wrong, f"{len(wrong)} values differ, first {wrong[:1]}")
    spread = max(offsets, default=0) - min(offsets, default=0)
    result.check(spread <= TIME_SPREAD_NS, f"its times wander by {spread / 1e6:.1f} ms")


def _holds(value: Any, stated: Sequence[float], made: Produced) -> bool:  # noqa: ANN401 - JSON
    if value is None or math.isnan(value):
        return not made.is_fix
    return any(math.isclose(value, one, rel_tol=CLOSE, abs_tol=CLOSE) for one in stated)
