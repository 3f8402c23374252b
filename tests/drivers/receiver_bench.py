"""A receiver model in a thread, and a driver that is opened again when it fails, as a lane does."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager

from drivers.base import DeviceAbsentError, DeviceLostError, Sample
from drivers.nmea_gps import NmeaGps
from drivers.sim.nmea_render import Fix, render
from drivers.sim.receiver import Receiver

START_NS = 1_750_507_195_000_000_000
PERIOD_NS = 100_000_000
DEADLINE_S = 40.0
ALL = ("RMC", "GGA", "GSA", "VTG", "GST", "ZDA", "GLL", "GNS")


def fix(n):
    return Fix(
        START_NS + n * PERIOD_NS,
        47.5 + n * 1e-5,
        -11.25,
        512.5,
        13.9,
        45.0,
        sigma_m=(1.5, 2.5, 4.0),
    )


class Bench:
    """A receiver that plays 10 epochs a second for a minute, and the driver that reads it."""

    def __init__(self, folder, unit, epochs=600, sentences=ALL):
        self.link = folder / "gps"
        self.log_file = folder / "gps.jsonl"
        self.unit = unit
        self.stop = threading.Event()
        source = [(fix(n).utc_ns, n * PERIOD_NS, render(fix(n), sentences)) for n in range(epochs)]
        self.receiver = Receiver(source, self.link, self.log_file, unit=unit)
        self.thread = threading.Thread(target=self.receiver.run, args=(self.stop,))
        self.refusals = []
        self.device = None

    def driver(self, **options):
        return NmeaGps(device=str(self.link), **options)

    def open(self, driver):
        """Open it as a lane does: again and again while it is absent; remember why it was."""
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            try:
                self.device = driver.open()
            except (DeviceAbsentError, DeviceLostError) as error:
                self.refusals.append(str(error))
                driver.close()
                assert time.monotonic() < deadline_s, self.refusals
                self.stop.wait(0.01)
            else:
                return self.device

    def samples(self, driver, n):
        """Read until n samples came, opening again what is lost."""
        found: list[Sample] = []
        deadline_s = time.monotonic() + DEADLINE_S
        while len(found) < n:
            assert time.monotonic() < deadline_s, self.refusals
            try:
                sample = driver.read(0.2)
            except (DeviceAbsentError, DeviceLostError) as error:
                self.refusals.append(str(error))
                driver.close()
                self.open(driver)
                continue
            if sample is not None:
                found.append(sample)
        return found

    def until_it_fails(self, driver):
        """Read until the driver raises."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            driver.read(0.2)

    @property
    def log(self):
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]


@contextmanager
def bench(folder, unit, **more):
    one = Bench(folder, unit, **more)
    one.thread.start()
    try:
        while not one.link.exists():
            assert one.thread.is_alive()
            one.stop.wait(0.005)
        yield one
    finally:
        one.stop.set()
        one.thread.join(DEADLINE_S)
        assert not one.thread.is_alive()
