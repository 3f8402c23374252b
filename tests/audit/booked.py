"""Lanes whose samples are booked by the real `Booking`: devices with slots, gaps and silences.

Stamps are data on the virtual clock. What a device loses, sends broken, or does not give while it
is away, the dice say; the audit is told nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from drivers.base import Sample
from recorder import record
from recorder.booking import Booking
from recorder.clock import boot_ns
from tests.crash.lanes import RINGS, Lanes
from tests.crash.world import World
from tests.recorder.building import PERIOD_NS, Producer, schema

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from recorder.schema import LaneSchema
    from tests.crash.model import Model

#: How often a device loses samples before one, and how many at most; and sends broken ones.
GAPS, MOST_GAP, BROKEN = 0.1, 4, 0.05
#: How often a lane looked at the clock before a sample came.
LOOKED = 0.5
#: How often it gives late what it kept of a silence, and how many slots of it at most.
LATE, MOST_KEPT = 0.5, 60


class Booked(Producer):
    """A lane without a process, with a device that has a slot every `PERIOD_NS`.

    Attributes:
        late: samples of all lanes that came late so far.

    Args:
        rings: the rings' folder.
        lane: its declaration.
        capacity_bytes: of its ring.
        dice: say what the device loses.
        wait: lets so many seconds pass.
    """

    late: ClassVar[int] = 0

    def __init__(
        self,
        rings: Path,
        lane: LaneSchema,
        capacity_bytes: int,
        dice: random.Random,
        wait: Callable[[float], None],
    ) -> None:
        super().__init__(rings, lane, capacity_bytes)
        self._dice, self._wait = dice, wait
        self._booking = Booking(
            self.ring.state,
            lane.period_ns,
            self.ring.created_boot_ns,
            required=lane.required,
            tolerance=lane.rate_tolerance,
        )
        self._origin_ns = self.ring.created_boot_ns
        #: GPS has nothing but its time; the camera has frame numbers; the IMU a FIFO.
        self._counts = lane.lane == "cam"

    def put(self, count: int = 1, payload: Sequence[bytes] | None = None, absent: int = 0) -> bool:
        assert payload is not None
        booking = self._booking
        booking.state = self.ring.state
        if self._dice.random() < LOOKED:
            self.tick()
        slot = self._slot(absent)
        lost = slot > self._behind()
        if slot < self._behind():
            Booked.late += count
        elif booking.state.boot_ns and self._dice.random() < BROKEN:
            booking.broken(2)
            slot += 2
        elif self._dice.random() < GAPS:
            slot, lost = slot + self._dice.randint(1, MOST_GAP), True
        at_ns = self._origin_ns + slot * PERIOD_NS
        number = slot if self._counts else None
        burst_ns = PERIOD_NS if count > 1 else 0
        sample = Sample(at_ns, count, payload, burst_ns, counter=number, gap=lost)
        booked = booking.sample(sample)
        fits = self.ring.put(record.DATA, count, booked, payload, at_ns)
        self._wait(count * PERIOD_NS / 1e9)
        return fits

    def _slot(self, absent: int) -> int:
        """Return the slot of the next sample: the one behind the last, or that of now.

        Or one of a silence that has been counted: the device kept it.
        """
        kept = min(self.ring.state.silent, MOST_KEPT)
        if kept and self._dice.random() < LATE:
            return self._behind() - self._dice.randint(1, kept)
        return max(self._behind(), (boot_ns() - self._origin_ns) // PERIOD_NS) + absent

    def _behind(self) -> int:
        """Return the slot behind the last one that was booked."""
        last_ns = self.ring.state.boot_ns
        return (last_ns - self._origin_ns) // PERIOD_NS + 1 if last_ns else 0

    def tick(self) -> None:
        """Book a silence, as a lane does every second."""
        self._booking.state = self.ring.state
        if self._booking.silence(boot_ns()):
            self.ring.note(self._booking.state)


class BookedLanes(Lanes):
    """All lanes of one vehicle, booked."""

    def __init__(
        self, rings: Path, model: Model, dice: random.Random, wait: Callable[[float], None]
    ) -> None:
        super().__init__(rings, model, dice)
        self._wait = wait

    def _start(self, name: str) -> None:
        lane = schema(name, blob="jpeg" if name == "cam" else None)
        one = Booked(self._rings, lane, RINGS[name], self._dice, self._wait)
        self._producers[name] = one
        self.epochs.add(one.ring.epoch)

    def say(self, name: str, *, anchor: bool) -> None:
        lane = self._producers[name]
        assert isinstance(lane, Booked)
        lane.tick()
        super().say(name, anchor=anchor)


class BookedWorld(World):
    """A recorder with such lanes, on a disk that forgets and fails."""

    def __init__(self, seed: int, *, is_own: bool, is_uploading: bool) -> None:
        super().__init__(seed, is_own=is_own, is_uploading=is_uploading)
        self.lanes = BookedLanes(self.config.rings_dir, self.model, self.dice, self.wait)
        self._is_late = False

    def commit_late(self) -> None:
        """Let the spool's process commit and beat while its lanes acquire."""
        self.wait(1.5)
        self._is_late = True
        self.commit()
        self._is_late = False

    def _make_spooler(self) -> None:
        super()._make_spooler()
        spooler = self.spooler
        assert spooler is not None
        make_room = spooler._make_room

        def acquire_and_make_room(*arguments: Any) -> None:
            # Between what the commit took and the heartbeat behind it.
            for name in RINGS if self._is_late else ():
                self.lanes.put(name)
            make_room(*arguments)

        setattr(spooler, "_make_room", acquire_and_make_room)  # noqa: B010 - mypy: a method

    def _judge_commit(self) -> None:
        if not self._is_late:
            super()._judge_commit()
