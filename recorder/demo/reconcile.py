"""Does it add up, row by row? Produced by the models, stored in the spool, read back.

For each lane: every stored row is one that the model produced, none twice; what was produced and is
not stored is in the counted losses, no more and no less; every stored row was read back, once, as
the right class, and every column holds what the model stated.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from recorder.demo import oracle
from recorder.demo.match import match
from recorder.demo.result import LaneResult
from recorder.demo.stored import stored_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recorder.demo.oracle import Produced
    from recorder.demo.stored import Row, Stored
    from recorder.session.ledger import LaneLedger
    from recorder.session.session import Session
    from recorder.spool.spool import Spool

CLASSES = {"gps": "GPS", "imu": "IMU", "camera": "CompressedImage"}
LOGS = {"gps": "gps.jsonl", "imu": "imu.csv", "camera": "camera.jsonl"}
#: Two ways to compute the same product may differ in the last places.
CLOSE = 1e-9
#: How far all times of a recording may stand from the models' own, once one offset is taken off.
TIME_SPREAD_NS = 60_000_000
#: How far a row may be stamped from its sample. Measured is up to 4 ms (gps), 1 ms (imu) and 0
#: (camera) on two quiet cores, and more than 2.5 ms (imu) where others use them too: models,
#: recorder and server share them here. The receiver's first byte is stamped when it is read, so it
#: feels a late process in full; the IMU's and the camera's stamps come from the device's own clock.
TIME_BOUND_NS = {"gps": 50_000_000, "imu": 25_000_000, "camera": 25_000_000}
#: No receiver and no adapter pauses so long inside an epoch: a driver may take it for the end.
STALL_NS = 20_000_000
#: At the end a silence is counted if it has lasted so long, and three periods (`recorder.booking`).
LATE_NS = 100_000_000
#: So many slots at the end of a lane that died may be under way, or differ by its measured period.
DEAD_SLOTS = 3
#: A lane says so much later that it has counted a silence, or was told to end, than it did.
SAID_NS = 50_000_000


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
    stored = stored_rows(spool, session.id, name)
    produced = getattr(oracle, name)(logs / LOGS[name])
    ended_ns = spool.session(session.id).heartbeat_boot_ns
    return reconcile(account, stored, produced, read, ended_boot_ns=ended_ns)


def reconcile(
    account: LaneLedger,
    stored: Stored,
    produced: Sequence[Produced],
    read: Sequence[dict[str, Any]],
    *,
    ended_boot_ns: int = 0,
) -> LaneResult:
    """Compare one lane's account, stored rows and read-back with what its model produced.

    Args:
        account: the lane's, from the session record.
        stored: its rows in the spool.
        produced: its model's samples.
        read: its rows as the SDK gave them.
        ended_boot_ns: when the recording ended: a lane that died was due until then, and what its
            model made later is nobody's.
    """
    if not stored.stopped_boot_ns:
        produced = [one for one in produced if one.boot_ns <= ended_boot_ns]
    result = LaneResult(
        account.name,
        produced=len(produced),
        acquired=account.acquired,
        lost=account.lost,
        stored=len(stored.rows),
        delivered=account.delivered,
        read_back=len(read),
        read_as=", ".join(sorted({row["class"] for row in read})),
    )
    _check_counts(result, account)
    origin = _match(result, stored.rows, produced, read)
    _check_losses(result, account, stored, produced, max(origin.values(), default=-1))
    _check_read_back(result, {seqno: produced[at] for seqno, at in origin.items()}, read)
    if result.findings:
        _tell_stalls(result, produced)
    return result


def _tell_stalls(result: LaneResult, produced: Sequence[Produced]) -> None:
    """Add to the findings, which stand as they are, that the model did not play its part."""
    for one in produced:
        result.check(
            one.pause_ns < STALL_NS,
            f"the model itself was held up for {one.pause_ns / 1e6:.0f} ms in sample {one.number}",
        )


def _check_counts(result: LaneResult, account: LaneLedger) -> None:
    result.check(account.stored == result.stored, f"the record says {account.stored} stored")
    result.check(not account.imbalances(), "; ".join(account.imbalances()))
    result.check(result.read_back == result.stored, f"{result.read_back} rows read back")
    result.check(result.delivered == result.stored, f"{result.delivered} delivered")
    result.check(result.read_as == CLASSES[result.name], f"read back as {result.read_as!r}")
    result.check(bool(result.stored), "nothing was stored")


def _match(
    result: LaneResult,
    rows: Sequence[Row],
    produced: Sequence[Produced],
    read: Sequence[dict[str, Any]],
) -> dict[int, int]:
    """Find for each row of the spool the sample that the model made; return it by its index."""
    values = {row.get("header.sample_counter"): row for row in read}
    # A number that was stored twice is told below, and has no say here.
    once = sorted({row.seqno: row for row in rows}.values(), key=lambda row: row.seqno)
    times = [one.boot_ns for one in produced]

    def agrees(row: int, sample: int) -> bool:
        return not differing(values.get(once[row].seqno, {}), produced[sample])

    placed = match([row.boot_ns for row in once], times, agrees, TIME_BOUND_NS[result.name])
    errors_ns = (abs(once[row].boot_ns - times[sample]) for row, sample in placed.items())
    result.time_error_ms = max(errors_ns, default=0) / 1e6
    far = len(once) - len(placed)
    result.check(not far, f"{far} stored rows are at no time of a sample of the model's own")
    result.check(len(once) == len(rows), "a number was stored twice")
    return {once[row].seqno: sample for row, sample in placed.items()}


def _check_losses(
    result: LaneResult,
    account: LaneLedger,
    stored: Stored,
    produced: Sequence[Produced],
    last: int,
) -> None:
    """Hold the counted losses against what is not stored: up to the last row, and behind it.

    Args:
        result: told what does not hold; `silent` is set.
        account: the lane's, from the session record.
        stored: the lane's rows.
        produced: the model's samples.
        last: index of the sample that is the last row.
    """
    period_ns = 1e9 / account.rate_hz
    silent = _silent([one.due_ns for one in produced[: last + 1]], period_ns)
    # What the records do not say the recording's end has counted: it is behind the last row.
    lost = max((row.lost for row in stored.rows), default=0)
    after = sum(result.lost.values()) - lost
    missing = last + 1 + silent - result.stored
    result.check(
        missing == lost,
        f"{missing} produced or due samples are not stored, but {lost} are counted as lost",
    )
    result.silent = silent
    if last >= 0 and not stored.stopped_boot_ns:
        _check_dead_tail(result, len(produced) - 1 - last, after)
    elif last >= 0:
        times = [one.boot_ns for one in produced[last:]]
        _check_tail(result, stored, times, period_ns, after)


def _check_tail(
    result: LaneResult, stored: Stored, times: Sequence[int], period_ns: float, counted: int
) -> None:
    """Hold what is counted behind the last row against what was due there.

    Nothing comes any more that would show by its time or number what was missed, so a silence is
    due slot by slot, see `_due`.

    Args:
        result: told what does not hold; `silent` is raised.
        stored: the lane's rows.
        times: of the model's samples from that of the last row on.
        period_ns: between two samples.
        counted: losses behind the last row.
    """
    row_ns = max(stored.rows, key=lambda row: row.seqno).boot_ns
    left = len(times) - 1
    # What the model made is missing in any case, also where the lane died and counts no more.
    due = {max(left, _due(stored, row_ns + late_ns, period_ns)) for late_ns in (0, SAID_NS)}
    result.check(
        counted in due,
        f"behind the last row {max(due)} were due, but {counted} are counted as lost",
    )
    result.silent += _due(stored, times[-1], period_ns)


def _check_dead_tail(result: LaneResult, left: int, counted: int) -> None:
    """Hold what the recording's end counted for a lane that died against what its model made.

    The end knows the device's period only as measured, leaves the slot under way open, and a
    receiver that nobody hears has no samples in the model's log: there more is due than was made.
    """
    result.check(
        counted >= left - DEAD_SLOTS,
        f"the lane died, {left} samples were made behind its last row, but {counted} are counted",
    )
    result.silent += max(counted - left, 0)


def _due(stored: Stored, last_ns: int, period_ns: float) -> int:
    """Return the slots of a silence from a sample to the end.

    They are due up to the lane's last look at it, but for the one under way, which a late sample
    may still fill; and so is the rest up to the end, if it is too long for a late sample.
    """
    slots = 0
    if stored.silent_boot_ns:
        slots = max(int((stored.silent_boot_ns - last_ns) // period_ns) - 1, 0)
    rest_ns = stored.stopped_boot_ns - last_ns - slots * period_ns
    is_long = rest_ns >= max(LATE_NS, 3 * period_ns)
    return slots + (int(rest_ns // period_ns) - 1 if is_long else 0)


def _silent(times: Sequence[int], period_ns: float) -> int:
    """Return how many slots between the samples had none, by when these were due."""
    return sum(max(round((b - a) / period_ns) - 1, 0) for a, b in itertools.pairwise(times))


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
        result.values += len(made.stated)
        wrong += [
            f"{column} of sample {made.number}: {row.get(column)}, stated {made.stated[column]}"
            for column in differing(row, made)
        ]
    result.wrong = len(wrong)
    result.check(not wrong, f"{len(wrong)} values differ, first {wrong[:1]}")
    spread = max(offsets, default=0) - min(offsets, default=0)
    result.check(spread <= TIME_SPREAD_NS, f"its times wander by {spread / 1e6:.1f} ms")


def differing(row: dict[str, Any], made: Produced) -> list[str]:
    """Return the columns in which a row does not hold what a sample states."""
    return [column for column, stated in made.stated.items() if not _holds(row.get(column), stated)]


def _holds(value: Any, stated: Sequence[float]) -> bool:  # noqa: ANN401 - JSON
    if value is None or math.isnan(value):
        return not stated
    return any(math.isclose(value, one, rel_tol=CLOSE, abs_tol=CLOSE) for one in stated)
