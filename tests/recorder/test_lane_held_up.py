"""A lane that was held up reads first what its device kept for it, and counts nothing twice."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

import pytest

from drivers.base import Device, DeviceLostError, Driver, Sample
from recorder import config, record
from recorder.clock import boot_ns
from recorder.lane import main
from recorder.ring_files import ReaderSet
from recorder.service import Stop
from tests.known import known
from tests.recorder.building import FIELDS, rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PERIOD_NS = 10_000_000
BEFORE, AFTER = 20, 200
HELD_UP_S = 1.5
LOST, HOLDS_NS = 60, 2_000_000_000


class Keeping(Driver):
    """A device that samples by its own clock, and keeps what nobody takes."""

    kind = "keeping"
    ontology = "Numbered"
    fields = FIELDS
    rate_hz = 100.0
    rate_tolerance = 0.01
    stop: ClassVar[Stop]
    #: What happens at sample `BEFORE`: the process does not come to read, or the device is lost.
    is_held_up: ClassVar[bool]
    given: ClassVar[list[int]]
    _begin_ns = 0

    def open(self) -> Device:
        # A device that was set up again gives its first samples when it knows their times.
        self._begin_ns = boot_ns()
        self._from_ns = self._begin_ns + (int(HELD_UP_S * 1e9) if self.given else 0)
        self._number = 0
        return Device(vendor="test", model="keeping")

    def read(self, timeout_s: float) -> Sample | None:
        if len(self.given) == BEFORE + AFTER:
            self.stop.set()
            return None
        if len(self.given) == self._number == BEFORE:
            if not self.is_held_up:
                raise DeviceLostError("gone")
            threading.Event().wait(HELD_UP_S)
        at_ns = self._begin_ns + self._number * PERIOD_NS
        if boot_ns() < max(at_ns, self._from_ns):
            threading.Event().wait(PERIOD_NS / 1e9)
            return None
        self._number += 1
        self.given.append(at_ns)
        return Sample(boot_ns=at_ns, rows=1, payload=[rows(len(self.given))])

    def finish(self) -> Sequence[Sample]:
        return ()

    def close(self) -> None:
        """Nothing is open."""


class Holding(Keeping):
    """A device that loses samples, and knows the times of those that follow after a while only."""

    kind = "holding"

    @property
    def held_since_ns(self) -> int | None:
        if not self._begin_ns:
            return None
        lost_ns = LOST * PERIOD_NS if self._number >= BEFORE else 0
        return self._begin_ns + self._number * PERIOD_NS + lost_ns

    def read(self, timeout_s: float) -> Sample | None:
        if self._number == BEFORE + AFTER:
            self.stop.set()
            return None
        at_ns = known(self.held_since_ns)
        if boot_ns() < at_ns + (HOLDS_NS if self._number == BEFORE else 0):
            threading.Event().wait(PERIOD_NS / 1e9)
            return None
        self._number += 1
        self.given.append(at_ns)
        return Sample(boot_ns=at_ns, rows=1, payload=[rows(len(self.given))])


def counts(tmp_path: Path, kind: str = "Keeping") -> tuple[int, record.Losses]:
    """Run the lane; return how many samples were due, and what was lost."""
    Keeping.stop = Stop()
    lane = config.Lane(name="imu", driver=f"{__name__}:{kind}")
    main(config.Config(lanes=[lane], spool=config.Spool(run_dir=tmp_path)), Keeping.stop, "imu")
    readers = ReaderSet(tmp_path / "rings")
    assert readers.look() == []
    headers = [header for ring in readers for header, _ in ring.records()]
    readers.close()
    return headers[-1].expected, headers[-1].losses


def test_what_a_device_kept_while_the_process_was_held_up_is_no_absence(tmp_path: Path) -> None:
    Keeping.is_held_up, Keeping.given = True, []
    assert counts(tmp_path) == (BEFORE + AFTER, record.Losses())


def test_what_a_device_keeps_back_after_its_start_is_no_absence(tmp_path: Path) -> None:
    Keeping.is_held_up, Keeping.given = False, []
    expected, losses = counts(tmp_path)
    gap_ns = Keeping.given[BEFORE] - Keeping.given[BEFORE - 1]
    assert losses == record.Losses(absent=round(gap_ns / PERIOD_NS) - 1)
    assert expected == BEFORE + AFTER + losses.absent


def test_what_a_driver_holds_back_after_a_loss_is_not_booked_as_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.lane.START_ALLOWANCE_NS", 0)
    Keeping.given = []
    expected, losses = counts(tmp_path, "Holding")
    assert losses == record.Losses(source=LOST)
    assert expected == BEFORE + AFTER + LOST
