"""What a scenario leaves behind for the page of results: one small file of JSON.

name, says          which scenario, and what it proves
level               where it was played: 0.5, 1 or 2
played_at           UTC, as text
verdict, problems   `passed` or `failed`, and what is wrong
seconds             how long it took
told                what it said of itself, such as the time until it recorded again
lanes               by name: rows, lost (by cause), rates and gaps
rates               of a lane: [seconds since the first row, rows per second], in equal steps
gaps                of a lane: [seconds since the first row, seconds without a row]
commits             the spool's own account: count, slowest_ms, promise_ms, histogram_ms
"""

from __future__ import annotations

import itertools
import json
import statistics
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hil.scenarios.recording import Recording

RESULTS = Path("build/hil")
PASSED, FAILED = "passed", "failed"
MOST_STEPS = 120
#: So many periods without a row are a gap.
GAP_PERIODS = 3.0
SECOND_NS = 1e9


@dataclass(frozen=True)
class LaneFigures:
    """What became of a lane; times count from the recording's first row, in s.

    Args:
        rows: that are stored.
        lost: by cause, what was lost.
        rates: rows per second in each step of time.
        gaps: beginnings of long pauses, with their length.
    """

    rows: int
    lost: Mapping[str, int] = field(default_factory=dict)
    rates: Sequence[tuple[float, float]] = ()
    gaps: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Figures:
    """The file's content; the module says what stands where."""

    name: str
    says: str
    level: str
    verdict: str
    seconds: float
    problems: Sequence[str] = ()
    told: Sequence[str] = ()
    lanes: Mapping[str, LaneFigures] = field(default_factory=dict)
    commits: Mapping[str, Any] = field(default_factory=dict)
    played_at: str = field(
        default_factory=lambda: datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    )

    def write(self, folder: Path = RESULTS) -> None:
        """Write the file, in place of what an earlier run left."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Figures:
        """Read a file that `write` made."""
        found = json.loads(path.read_text())
        found["lanes"] = {name: LaneFigures(**one) for name, one in found["lanes"].items()}
        return cls(**found)


def of_recording(
    recording: Recording, lanes: Iterable[str], session_ids: Sequence[str] = ()
) -> dict[str, LaneFigures]:
    """Return what some sessions of a recording, or all of them, have of some lanes."""
    times: dict[str, list[int]] = {lane: [] for lane in lanes}
    lost: dict[str, dict[str, int]] = {lane: {} for lane in times}
    # CLOCK_BOOTTIME begins anew with each boot: what its first session knows of UTC parts it from
    # the one before. Within a boot no other clock counts.
    ahead_ns: dict[str, int] = {}
    for session_id in session_ids or recording.session_ids:
        session = recording.session(session_id)
        begun_ns = (session.start_utc_ns or 0) - (session.start_boot_ns or 0)
        boot_ns = ahead_ns.setdefault(session.boot_id, begun_ns)
        for one in session.lanes:
            if one.name in times:
                rows = recording.rows(one.name, session_id)
                times[one.name] += [row.boot_ns + boot_ns for row in rows]
                for cause, count in one.lost.items():
                    lost[one.name][cause] = lost[one.name].get(cause, 0) + count
    begin_ns = min((min(stamps) for stamps in times.values() if stamps), default=0)
    return {
        lane: _of_lane(sorted((one - begin_ns) / SECOND_NS for one in stamps), lost[lane])
        for lane, stamps in times.items()
    }


def _of_lane(times_s: list[float], lost: Mapping[str, int]) -> LaneFigures:
    pauses = list(itertools.pairwise(times_s))
    usual_s = statistics.median(b - a for a, b in pauses) if pauses else 0.0
    gaps = [(a, b - a) for a, b in pauses if b - a > GAP_PERIODS * usual_s]
    return LaneFigures(len(times_s), lost, _rates(times_s), gaps)


def _rates(times_s: list[float]) -> list[tuple[float, float]]:
    if not times_s:
        return []
    # Steps of whole seconds; the last one is not whole and would look like a loss.
    step_s = max(1, round(times_s[-1] / MOST_STEPS))
    counts = [0] * (int(times_s[-1] // step_s) + 1)
    for time_s in times_s:
        counts[int(time_s // step_s)] += 1
    first = int(times_s[0] // step_s) + 1
    return [((n + 0.5) * step_s, counts[n] / step_s) for n in range(first, len(counts) - 1)]
