"""Lanes that have no process of their own: another lane's process fills them from its device.

A receiver's raw sentences are such a lane beside that of its fixes: one device, which one process
alone can open, and two rings. From the ring on it is a lane like any other.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from drivers.base import DeviceAbsentError, Driver
from recorder import record, status
from recorder.booking import Booking
from recorder.config import MIB, Lane
from recorder.devices import make_driver
from recorder.ring_files import attach, hold
from recorder.schema import LaneSchema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drivers.base import Device, Sample
    from recorder.config import Config

SUFFIX = "-raw"
#: Names have 64 characters at most; a second of the fastest receiver's lines has 30 kB.
MOST_NAME_CHARS, RING_BYTES = 64, MIB
#: A hundredth of a usual lane's: what it lacks is hardly a part of the recording's quality.
WEIGHT = 0.01


class EventLane(Driver):
    """What such a lane holds: what comes when it comes, each one blob. It has no device.

    Args:
        kind: see `drivers.base.Events`, as the others.
        ontology: see there.
        blob: see there.
    """

    fields = ()
    rate_hz = 0.0
    rate_tolerance = 0.0

    def __init__(self, *, kind: str, ontology: str, blob: str) -> None:
        # Of an instance, though drivers of a device have one for their class.
        self.kind = kind  # type: ignore[misc]  # a class variable elsewhere
        self.ontology = ontology  # type: ignore[misc]  # a class variable elsewhere
        self.blob = blob

    def open(self) -> Device:
        """Refuse.

        Raises:
            DeviceAbsentError: always: the lane that fills it has the device.
        """
        raise DeviceAbsentError(f"{self.kind}: the lane that fills it has the device")

    def close(self) -> None:
        """Do nothing."""


def beside(lane: Lane, driver: Driver) -> list[Lane]:
    """Return the lanes that a lane's process fills besides its own.

    Args:
        lane: as configured.
        driver: its driver.
    """
    if driver.beside is None:
        return []
    return [
        Lane(
            name=lane.name[: MOST_NAME_CHARS - len(SUFFIX)] + SUFFIX,
            driver=f"{__name__}:{EventLane.__name__}",
            options=dataclasses.asdict(driver.beside),
            required=False,
            weight=WEIGHT,
            on_error=lane.on_error,
            ring_bytes=RING_BYTES,
            priority=lane.priority,
            metadata=lane.metadata,
            filled_by=lane.name,
        )
    ]


class Beside:
    """The ring of a lane that another lane's process fills.

    Args:
        config: the resolved configuration.
        lane: the lane.

    Raises:
        RingError: another process fills it.
    """

    def __init__(self, config: Config, lane: Lane) -> None:
        self._lane = lane
        self._run_dir = config.spool.run_dir
        self._driver = make_driver(lane)
        schema = LaneSchema.of(
            lane.name,
            self._driver,
            required=lane.required,
            on_error=lane.on_error,
            metadata=lane.metadata,
        )
        self._lock = hold(config.rings_dir, lane.name)
        self._ring = attach(config.rings_dir, schema, lane.ring_bytes or RING_BYTES)
        self._booking = Booking(
            self._ring.state,
            schema.period_ns,
            self._ring.created_boot_ns,
            required=lane.required,
            tolerance=schema.rate_tolerance,
        )
        self._last_sample_ns = 0

    def take(self, samples: Iterable[Sample]) -> None:
        """Put samples into the ring; what does not fit is dropped and counted."""
        for sample in samples:
            booked = self._booking.sample(sample)
            self._last_sample_ns = booked.boot_ns
            self._ring.put(record.DATA, sample.rows, booked, sample.payload, sample.boot_ns)
            self._booking.state = self._ring.state

    def sign(self, word: str) -> None:
        """Publish its life sign.

        Args:
            word: the state of the lane whose process fills it.
        """
        state = self._booking.state
        self._ring.note(state)
        facts = {
            "lane": self._lane.name,
            "driver": self._driver.kind,
            "state": word,
            "device": {},
            "rate_hz": self._driver.rate_hz,
            "samples": state.seqno,
            "expected": state.expected,
            "losses": dataclasses.asdict(state.losses),
            "last_boot_ns": self._last_sample_ns,
            "ring_bytes": state.position - self._ring.tail_position(),
            "ring_capacity_bytes": self._ring.capacity_bytes,
        }
        status.publish(self._run_dir, f"lane-{self._lane.name}", facts)

    def end(self, told_boot_ns: int) -> None:
        """Mark a clean end: nothing more is due."""
        self._booking.end(told_boot_ns)
        self.sign("stopped")

    def close(self) -> None:
        """Let go of ring and lock; may be called twice."""
        self._ring.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def attach_beside(config: Config, name: str) -> Sequence[Beside]:
    """Return the rings that a lane's process fills besides its own.

    Raises:
        RingError: another process fills one.
    """
    return [Beside(config, one) for one in config.lanes if one.filled_by == name]
