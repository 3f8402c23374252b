"""A recording on a disk whose writes are logged, until its power is cut; what it promised."""

from __future__ import annotations

import bisect
import json
import re
import subprocess
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hil.cuts import write_log
from hil.cuts.account import untrue
from hil.cuts.appliance import SERIAL, booted, make_disk, opened
from hil.scenarios.bench import PATIENCE_S, RUN_DIR
from hil.vm.ready import LANES
from recorder.spool.watermark import Watermark
from tests.powercut.blocklog import WRITE
from tests.powercut.recovery import apart, reboot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hil.scenarios.bench import Bench
    from hil.vm.image import Image
    from tests.powercut.blocklog import Entry

LOG_BYTES = 4 << 30  # the file is sparse
#: Between two looks while it boots, and while it records; between two looks at the log.
BOOT_NAP_S, NAP_S, COUNT_NAP_S = 2.0, 0.1, 0.01
#: Of /proc/uptime, which counts like CLOCK_BOOTTIME.
UPTIME_NS = 10_000_000
#: Between two readings of a FIFO, or two epochs of a receiver; the longest.
COLLECTS_NS = 200_000_000
BETWEEN = "@@@@"
LOOK = (
    f"cd {RUN_DIR}; for one in watermark status/spool.json /proc/uptime;"
    f" do cat $one 2>/dev/null; printf {BETWEEN}; done"
)
#: Lines of a session's journal, by what they are told of.
TOLD = {"announced": "session start", "segment": "segment start", "evicted": "eviction"}
LINE = re.compile(rb'[0-9a-f]{8} \{"entry":"(announced|segment|evicted)"[^\n]*\n')


@dataclass(frozen=True)
class Look:
    """What the machine told at one moment.

    Args:
        entries: how many entries the log had behind it: every cut behind so many has all that.
        session_id: of the watermark.
        ends: by lane, a segment, and how many of its bytes are durable.
        promise_ns: what a loss of power may cost at most.
    """

    entries: int
    session_id: str
    ends: Mapping[str, tuple[str, int]]
    promise_ns: int


@dataclass
class Drive:
    """A recording until its power was cut.

    Args:
        folder: with the disk as it was at first, as it is now, and the log.
        looks: what the machine told, oldest first.
        untrue: what lay on the disk at last and was not what the sensors gave.
    """

    folder: Path
    looks: list[Look] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    _counts: list[int] = field(default_factory=lambda: [0])
    _seen_ns: list[int] = field(default_factory=lambda: [0])
    _least_ns: list[int] = field(default_factory=list)
    _most_ns: list[int] = field(default_factory=list)

    @property
    def base(self) -> Path:
        """The disk at first."""
        return self.folder / "base.img"

    @property
    def disk(self) -> Path:
        """The disk with everything that it was told."""
        return self.folder / "disk.img"

    @property
    def log(self) -> Path:
        """What it was told."""
        return self.folder / "writes.log"

    def run(self, image: Image, seconds: float) -> None:
        """Boot with all sensors plugged in, record, and cut the power.

        Args:
            image: what the machine boots from.
            seconds: how long all sensors record.
        """
        make_disk(self.base)
        subprocess.run(["cp", "--sparse=always", self.base, self.disk], check=True)
        with self.log.open("wb") as file:
            file.truncate(LOG_BYTES)
        is_over = threading.Event()
        counter = threading.Thread(target=self._count, args=(is_over,))
        counter.start()
        try:
            arguments = write_log.arguments(self.disk, self.log, SERIAL)
            with booted(image, arguments, self.folder) as bench:
                self._record(bench, seconds)
                bench.machine.close()
                self.untrue = self._compare(bench)
        finally:
            is_over.set()
            counter.join()

    def _record(self, bench: Bench, seconds: float) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not all(bench.sign(lane).get("samples") for lane in LANES):
            self._look(bench)
            assert time.monotonic() < deadline_s, "not every lane records"
            threading.Event().wait(BOOT_NAP_S)
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._look(bench)
            threading.Event().wait(NAP_S)

    def _compare(self, bench: Bench) -> list[str]:
        """Return what is on the disk at last and is not what the sensors gave."""
        copy = self.folder / "whole.img"
        subprocess.run(["cp", "--sparse=always", self.disk, copy], check=True)
        with opened(copy, self.folder / "whole") as config:
            apart(partial(reboot, config, "none"))
            return untrue(config.spool_dir, bench.sensors)

    def _count(self, is_over: threading.Event) -> None:
        """Note when the log grew."""
        while not is_over.wait(COUNT_NAP_S):
            entries = write_log.count(self.log)
            if entries != self._counts[-1]:
                self._counts.append(entries)
                self._seen_ns.append(_now_ns())

    def _look(self, bench: Bench) -> None:
        """Note what is promised by now."""
        before_ns = _now_ns()
        water, sign, uptime, _ = bench.machine.run(LOOK).split(BETWEEN)
        uptime_ns = round(float(uptime.split()[0]) * 1e9)
        self._least_ns.append(uptime_ns - _now_ns())
        self._most_ns.append(uptime_ns + UPTIME_NS - before_ns)
        copy = self.folder / "watermark"
        copy.write_text(water.strip() + "\n")
        found = Watermark.read(copy)
        if found is not None and sign.strip():
            promise_ns = round(json.loads(sign)["commits"]["promise_ms"] * 1e6)
            entries = write_log.count(self.log)
            self.looks.append(Look(entries, found.session_id, dict(found.ends), promise_ns))

    def due(self, at: int) -> list[Look]:
        """Return what was promised before a cut behind so many entries."""
        return [one for one in self.looks if one.entries <= at]

    def promised_ns(self, at: int) -> int | None:
        """Return what a loss of power may cost at a cut; None before anything was promised.

        It is what was said before it, or behind it if that is more: of a commit in flight the
        recorder can tell only then.
        """
        place = len(self.due(at))
        return max(one.promise_ns for one in self.looks[place - 1 : place + 1]) if place else None

    def cut_ns(self, at: int) -> int:
        """Return when the power went, at the latest, by the machine's CLOCK_BOOTTIME.

        It is the moment of the next entry: until then the disk was like that.
        """
        ahead_ns = (max(self._least_ns) + min(self._most_ns)) // 2
        place = bisect.bisect_right(self._counts, at)
        return self._seen_ns[min(place, len(self._seen_ns) - 1)] + ahead_ns

    @property
    def late_ns(self) -> int:
        """How late what a sensor gives can be in its ring, on an emulated machine.

        As late as the machine answered the bench, and the time that a sensor collects samples.
        """
        slowest_ns = max(a - b for a, b in zip(self._most_ns, self._least_ns, strict=True))
        return COLLECTS_NS + slowest_ns


def _now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def moments(entries: list[Entry]) -> dict[str, list[int]]:
    """Return, by what happened, behind how many requests it stands in a journal on the disk."""
    found: dict[str, list[int]] = defaultdict(list)
    known: set[bytes] = set()
    for number, one in enumerate(entries, 1):
        if one.kind == WRITE and b'{"entry":' in bytes(one.data):
            for line in LINE.finditer(one.data):
                if line[0] not in known:
                    known.add(line[0])
                    found[TOLD[line[1].decode()]].append(number)
    return found
