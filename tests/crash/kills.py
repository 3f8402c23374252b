"""``python -m tests.crash.kills``: the real processes under full load, killed at any instant.

Three lanes (GPS 10 Hz, IMU 1 kHz in bursts, camera 30 pictures of 300 kB a second) and the spool's
process; one of them, or all, gets SIGKILL and is started again at once. In each round some twenty
kills fall into a few sessions; at its end what the spool holds is held against the devices' own
numbers. The last line has the figures, the exit code is the verdict.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recorder import config, record
from recorder.clock import boot_ns
from recorder.spool.segment import SegmentReader
from recorder.spool.spool import Spool
from recorder.spool.verify import verify
from recorder.spool.watermark import Watermark, durable
from tests.crash.devices import PICTURE_BYTES, ROW, picture, row
from tests.crash.model import Verdict
from tests.leash import LEASH
from tests.recorder.building import ROOT, Machine, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.session.ledger import LaneLedger

MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
LANES = {
    "gps": {"rate_hz": 10.0},
    "imu": {"rate_hz": 1000.0, "burst_rows": 20},
    "cam": {"rate_hz": 30.0},
}
KILLS_A_ROUND = 20
#: How long a process lives at least and at most behind its first sign of life.
LIFE_S = 0.5


class Fleet(Machine):
    """The real processes of one recorder with three lanes.

    Args:
        run_dir: for the rings; in memory.
        data: for the spool.
    """

    def __init__(self, run_dir: Path, data: Path) -> None:
        super().__init__(run_dir)
        origin = boot_ns()
        lanes = [
            config.Lane(
                name=name,
                driver=f"tests.crash.devices:{'Camera' if name == 'cam' else 'Counter'}",
                options={"origin_boot_ns": origin, **options},
                ring_bytes=64 << 20 if name == "cam" else 1 << 20,
            )
            for name, options in LANES.items()
        ]
        self.config = config.Config(
            lanes=lanes,
            session=config.Session(heartbeat_s=1.0, roll_over_s=6.0),
            spool=config.Spool(
                directory=data, run_dir=run_dir, commit_interval_s=0.1, free_floor_bytes=0
            ),
            upload=config.Upload(mode="off"),
        )

    def start(self, name: str) -> subprocess.Popen[bytes]:
        module = ["recorder.spooler"] if name == "spool" else ["recorder.lane", name]
        arguments = [sys.executable, "-m", *module, config.to_json(self.config)]
        env = {**os.environ, **LEASH.environment}
        log = (self.config.spool.run_dir / f"{name}.log").open("ab")
        with log:
            process = subprocess.Popen(arguments, cwd=ROOT, env=env, pass_fds=LEASH.fds, stderr=log)
        self.processes[name] = process
        return process

    def lives(self, name: str, since_ns: int) -> bool:
        """Tell whether a process gave a sign of life since a wall-clock time, in ns."""
        sign = "spool" if name == "spool" else f"lane-{name}"
        path = self.config.spool.run_dir / "status" / f"{sign}.json"
        assert self.processes[name].poll() is None, f"{name} ended by itself"
        return path.exists() and path.stat().st_mtime_ns >= since_ns


@dataclass
class Shown:
    """What the outside was shown of a lane before a kill: up to which device's number."""

    lane: str
    number: int


def shown(one: Fleet) -> list[Shown]:
    """Return, by lane, the last number that the watermark showed."""
    water = Watermark.read(one.config.watermark_file)
    found: list[Shown] = []
    for lane in water.ends if water else ():
        assert water is not None
        for path, end_bytes in durable(Spool(one.spool), water.session_id, lane, water)[-1:]:
            numbers = [number for number, _ in numbers_of(path, end_bytes)]
            found += [Shown(lane, numbers[-1])] if numbers else []
    return found


def numbers_of(path: Path, end_bytes: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield the number of every row of a segment and its sequence number; each must be whole."""
    with SegmentReader(path, end_bytes) as segment:
        for _, header, payload in segment.records():
            with payload:
                if header.kind != record.DATA:
                    continue
                numbers = [number for number, _ in ROW.iter_unpack(payload[: header.rows * 16])]
                assert b"".join(map(row, numbers)) == payload[: header.rows * 16], "a wrong row"
                if segment.head.schema.blob:
                    assert len(payload) == ROW.size + PICTURE_BYTES
                    assert payload[ROW.size :] == picture(numbers[0]), "a wrong picture"
            for place, number in enumerate(numbers):
                yield number, header.seqno + place


def round_of(folder: Path, kills: int, dice: random.Random) -> tuple[Verdict, Counter[str]]:
    """Run one recorder, kill its processes so many times, end it and judge."""
    run_dir = Path(tempfile.mkdtemp(prefix="kills-", dir=MEMORY))
    one = Fleet(run_dir, folder)
    told: list[Shown] = []
    tally: Counter[str] = Counter()
    try:
        for name in ("spool", *LANES):
            one.start(name)
        _all_live(one, time.time_ns())
        for _ in range(kills):
            told += _kill(one, dice, tally)
        _all_live(one, time.time_ns())
        for name in (*LANES, "spool"):
            assert one.end(name) == 0, (run_dir / f"{name}.log").read_text()
        verdict, more = judge(one.spool, told)
        return verdict, tally + more
    finally:
        for name in list(one.processes):
            one.kill(name)
        shutil.rmtree(run_dir)


def _all_live(one: Fleet, since_ns: int) -> None:
    for name in one.processes:
        wait_until(lambda name=name: one.lives(name, since_ns))  # type: ignore[misc] # bound now


def _kill(one: Fleet, dice: random.Random, tally: Counter[str]) -> list[Shown]:
    """Kill a process, or all, in the middle of what it does, and start it again at once."""
    chosen = dice.choice([["spool"], ["spool"], [dice.choice(list(LANES))], ["spool", *LANES]])
    dice.shuffle(chosen)
    tally["spool" if chosen == ["spool"] else "lane" if len(chosen) == 1 else "both"] += 1
    time.sleep(dice.uniform(0, LIFE_S))  # the instant; nothing waits for it
    for name in chosen:
        one.processes[name].kill()
    for name in chosen:
        one.kill(name)
    told = shown(one) if "spool" in chosen else []
    since_ns = time.time_ns()
    for name in chosen:
        one.start(name)
    if dice.random() < 0.8:  # else the next kill may fall into the start
        for name in chosen:
            wait_until(lambda name=name: one.lives(name, since_ns))  # type: ignore[misc] # bound
    return told


def judge(spool: Path, told: list[Shown]) -> tuple[Verdict, Counter[str]]:
    """Hold a spool that was ended against the devices' numbers."""
    opened = Spool(spool)
    sessions = [opened.session(one) for one in opened.session_ids()]
    verdict, tally = Verdict(), Counter(sessions=len(sessions))
    for lane in LANES:
        rows = [
            one
            for session in sessions
            for path in opened.segments(session.id, lane)
            for one in numbers_of(path)
        ]
        books = [one for session in sessions for one in session.lanes if one.name == lane]
        shown_to = max((one.number for one in told if one.lane == lane), default=0)
        found = _judge_lane(rows, books, shown_to)
        if found:
            sys.stderr.write(f"{lane}: {found}; by session {[one.lost for one in books]}\n")
        verdict += found
        tally["rows"] += len(rows)
    checked = verify(spool)
    assert checked.is_sound, checked.to_dict()
    return verdict, tally


def _judge_lane(rows: list[tuple[int, int]], books: list[LaneLedger], shown_to: int) -> Verdict:
    numbers = sorted({number for number, _ in rows})
    seqnos = {seqno for _, seqno in rows}
    total = Counter[str]()
    for one in books:
        assert one.imbalances() == []
        total += Counter({key: n for key, n in vars(one).items() if type(n) is int})
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    counted = total["lost_absent"] + total["lost_source"] + total["lost_ring"]
    return Verdict(
        # Numbered by the lane and not there; and nothing behind what was shown is missing.
        lost=max(max(seqnos) + 1 - len(seqnos) - total["lost_ring"], 0)
        + int(numbers[-1] < shown_to),
        doubled=len(rows) - len(numbers),
        unaccounted=abs(missing - counted) + abs(total["stored"] - len(rows)),
    )


def campaign(kills: int, seed: int) -> tuple[Verdict, Counter[str]]:
    """Kill so many times, some in each round; the spool of a round is removed behind it."""
    dice = random.Random(seed)
    verdict, tally = Verdict(), Counter[str]()
    while (done := sum(tally[one] for one in ("spool", "lane", "both"))) < kills:
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            found, more = round_of(Path(folder), min(KILLS_A_ROUND, kills - done), dice)
        verdict, tally = verdict + found, tally + more
        sys.stderr.write(f"{done} of {kills} kills: {found}\n")
    return verdict, tally


def main() -> int:
    """Kill, judge, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.crash.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="how many, 500")
    parser.add_argument("--seed", type=int, default=1, help="of the instants, 1")
    chosen = parser.parse_args()
    began_s = time.monotonic()
    verdict, tally = campaign(chosen.kills, chosen.seed)
    facts = ", ".join(f"{name} {n}" for name, n in sorted(tally.items()))
    sys.stdout.write(f"{time.monotonic() - began_s:.0f} s: {facts}\n")
    sys.stdout.write(f"kills {chosen.kills}: {verdict}\n")
    return int(bool(verdict))


if __name__ == "__main__":
    sys.exit(main())
