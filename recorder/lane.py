"""One sensor's process: driver to ring. The only place where a device is opened again.

Neither the disk nor the network nor another sensor can hold it up: what does not fit into the ring
is dropped and counted.

A device that is lost is closed at once (a descriptor that stays open holds up the kernel when it
takes an unplugged adapter away), its slots are counted as absent, and it is opened again, with
pauses that grow and end early when its node appears. Opening identifies and configures it anew;
numbers go on. A process ends for its device only if nothing but a new process can use it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from drivers.base import BadSampleError, Driver, DriverError, StuckDeviceError
from recorder import record, status
from recorder.beside import attach_beside
from recorder.booking import SILENCE_NS, START_ALLOWANCE_NS, Booking
from recorder.clock import boot_ns
from recorder.devices import make_driver
from recorder.retry import Retry
from recorder.ring_files import attach, hold
from recorder.schema import LaneSchema
from recorder.service import Notifier, Stop, entry
from recorder.utc_teller import UtcTeller

if TYPE_CHECKING:
    from drivers.base import Device, Sample
    from recorder.config import Config

log = logging.getLogger(__name__)

READ_TIMEOUT_S = 0.2
SIGN_PERIOD_NS = 1_000_000_000
#: Exit code of a process whose device only a new process can use: EX_TEMPFAIL of sysexits.h.
STUCK_EXIT_CODE = 75
#: A ring must hold 2 s of the highest rate, a camera's 5 s; these are ample for the usual devices.
RING_BYTES, BLOB_RING_BYTES = 1024 * 1024, 32 * 1024 * 1024


class _ToldToStopError(Exception):
    """The lane is to end, and its device is not open yet."""


class Lane:
    """A sensor's path from its driver into its ring.

    Args:
        config: the resolved configuration.
        name: which of its lanes.
    """

    def __init__(self, config: Config, name: str) -> None:
        self._lane = config.lane(name)
        self._run_dir = config.spool.run_dir
        self._driver: Driver = make_driver(self._lane)
        schema = LaneSchema.of(
            name,
            self._driver,
            required=self._lane.required,
            on_error=self._lane.on_error,
            metadata=self._lane.metadata,
        )
        self._lock = hold(config.rings_dir, name)
        usual = BLOB_RING_BYTES if schema.blob else RING_BYTES
        self._ring = attach(config.rings_dir, schema, self._lane.ring_bytes or usual)
        self._booking = Booking(
            self._ring.state,
            schema.period_ns,
            self._ring.created_boot_ns,
            required=self._lane.required,
            tolerance=schema.rate_tolerance,
        )
        self._beside = attach_beside(config, name)
        self._notifier = Notifier()
        self._state = "opening"
        self._device: dict[str, Any] = {}
        self._frozen: object = []
        #: Whether the device can only be used by a new process: this one must not touch it again.
        self.is_stuck = False
        self._retry = Retry(self._driver.node, self._tick)
        self._teller = UtcTeller(config.clock.chrony_socket)
        self._row_bytes = schema.row_bytes
        self._next_sign_ns = self._last_sample_ns = self._told_ns = 0
        self._deaf_until_ns = 0  # before that, what is not there may still be on its way to us

    def run(self, stop: Stop) -> None:
        """Fill the ring until told to stop; open the device again when it fails.

        Ends early if `is_stuck`.
        """
        self._notifier.ready("looking for the device")
        self._driver.still_opening = functools.partial(self._still_opening, stop)
        self._tick()  # books what was due while no process of this lane came so far
        while not stop.is_set():
            try:
                with self._driver as driver:
                    self._opened(driver.open())
                    self._read(driver, stop)
            except StuckDeviceError as error:
                self._give_up(error)
                if not stop.is_set():
                    return
            except _ToldToStopError:
                break
            except DriverError as error:
                self._lost(error)
                self._retry.wait(stop)
        self._end()

    def _end(self) -> None:
        self._notifier.stopping()
        self._fill_beside()
        told_ns = self._told_ns or boot_ns()
        self._booking.end(told_ns)
        measured = dict(self._driver.measured())
        self._event({"event": "stopped", "told_boot_ns": told_ns, "measured": measured})
        self._state = "stopped"
        self._sign()
        for one in self._beside:
            one.end(told_ns)

    def _read(self, driver: Driver, stop: Stop) -> None:
        turn_ns = boot_ns()
        while not stop.is_set():
            try:
                sample = driver.read(READ_TIMEOUT_S)
            except BadSampleError as error:
                log.info("%s", error)
                self._booking.broken(error.samples)
                sample = None
            if sample is not None:
                self._put(sample)
            began_ns, turn_ns = turn_ns, boot_ns()
            if sample is not None or turn_ns - began_ns > SILENCE_NS:
                # Held up, or catching up: what the device kept for us comes first.
                self._deaf_until_ns = max(self._deaf_until_ns, turn_ns + SILENCE_NS)
            self._fill_beside()
            self._tick()
        self._told_ns = boot_ns()
        for last in driver.finish():
            self._put(last)

    def _fill_beside(self) -> None:
        for one in self._beside:
            one.take(self._driver.take_beside())

    def _put(self, sample: Sample) -> None:
        if not self._fits(sample):
            text = "%s: its driver gave %d bytes for %d rows of %d bytes; counted as broken"
            size = sum(map(len, sample.payload))
            log.warning(text, self._lane.name, size, sample.rows, self._row_bytes)
            self._booking.broken(sample.rows)
            return
        if not self._retry.is_first:
            self._retry.succeeded()
        booked = self._booking.sample(sample)
        self._last_sample_ns = booked.boot_ns
        self._ring.put(record.DATA, sample.rows, booked, sample.payload, sample.boot_ns)
        self._booking.state = self._ring.state
        anchor = self._teller.anchor(sample)
        if anchor is not None:
            self._control(record.ANCHOR, anchor, sample.boot_ns)

    def _fits(self, sample: Sample) -> bool:
        size = sum(map(len, sample.payload))
        if self._driver.blob is None:
            return size == sample.rows * self._row_bytes
        return sample.rows == 1 and size >= self._row_bytes

    def _control(self, kind: int, payload: bytes, at_boot_ns: int) -> None:
        self._ring.put(kind, 0, self._booking.state, [payload], at_boot_ns)
        self._booking.state = self._ring.state

    def _event(self, facts: dict[str, Any]) -> None:
        self._control(record.EVENT, json.dumps(facts).encode(), boot_ns())

    def _opened(self, device: Device) -> None:
        self._device = dataclasses.asdict(device)
        self._state = "running"
        # A FIFO's first rows are given when their times are known, and are then older than that.
        self._deaf_until_ns = boot_ns() + START_ALLOWANCE_NS
        log.info("%s is there", device.model or self._driver.kind)
        self._event({"event": "opened", "device": self._device})
        self._sign()

    def _lost(self, error: DriverError) -> None:
        self._booking.is_away = True
        self._deaf_until_ns = 0
        if self._retry.is_first:
            log.warning("%s; trying again until it comes", error)
            self._event({"event": "lost", "error": str(error)})
        self._state = f"absent: {error}"
        self._sign()

    def _give_up(self, error: StuckDeviceError) -> None:
        self.is_stuck = True
        self._booking.is_away = True
        log.error("%s; only a new process can use it: this one ends", error)
        self._event({"event": "stuck", "error": str(error)})
        self._state = f"stuck: {error}"
        self._sign()

    def _still_opening(self, stop: Stop) -> None:
        """Give a life sign while the device is looked for, unless that is to end."""
        if stop.is_set():
            raise _ToldToStopError
        self._tick()

    def _tick(self) -> None:
        now = boot_ns()
        if now < self._next_sign_ns:
            return
        held_ns = self._driver.held_since_ns
        quiet_ns = now if held_ns is None else min(held_ns, now)
        if now >= self._deaf_until_ns and self._booking.silence(quiet_ns):
            self._event({"event": "silent"})
        self._sign()

    def _sign(self) -> None:
        self._next_sign_ns = boot_ns() + SIGN_PERIOD_NS
        state = self._booking.state
        self._ring.note(state)
        measured = dict(self._driver.measured())
        self._note_frozen(measured.get("frozen", []))
        facts = {
            "lane": self._lane.name,
            "driver": self._driver.kind,
            "state": self._state,
            "device": self._device,
            "measured": measured,
            "rate_hz": self._driver.rate_hz,
            "samples": state.seqno,
            "expected": state.expected,
            "losses": dataclasses.asdict(state.losses),
            "last_boot_ns": self._last_sample_ns,
            "ring_bytes": state.position - self._ring.tail_position(),
            "ring_capacity_bytes": self._ring.capacity_bytes,
        }
        status.publish(self._run_dir, f"lane-{self._lane.name}", facts)
        for one in self._beside:
            one.sign(self._state)
        self._notifier.ping(f"{self._state}, {state.seqno} samples")

    def _note_frozen(self, columns: object) -> None:
        """Note which columns stand still, in the recording too, whenever that changes."""
        if columns != self._frozen:
            self._frozen = columns
            log.info("columns that stand still: %s", columns or "none")
            self._event({"event": "frozen", "columns": columns})

    def close(self) -> None:
        """Let go of ring, watch and lock; may be called twice."""
        self._retry.close()
        self._teller.close()
        for one in self._beside:
            one.close()
        self._ring.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def main(config: Config, stop: Stop, name: str) -> None:
    """Run one lane until told to stop.

    Does not return if its device can only be used by a new process, and ends this one at once, with
    `STUCK_EXIT_CODE` unless it was told to stop: what a stuck library left running would hold up
    any other end.

    Args:
        config: the resolved configuration.
        stop: the request to end.
        name: which lane.

    Raises:
        ConfigError: the driver does not take what the lane's table says.
        RingError: another process runs this lane.
    """
    lane = Lane(config, name)
    try:
        lane.run(stop)
    finally:
        lane.close()
    if lane.is_stuck:
        os._exit(0 if stop.is_set() else STUCK_EXIT_CODE)


if __name__ == "__main__":
    entry(f"lane-{sys.argv[1]}", functools.partial(main, name=sys.argv[1]))
