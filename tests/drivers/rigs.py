"""Every driver with a model of its device: what the contract is tried on.

A rig makes its driver and lets the device misbehave in the ways that every driver must stand. What
a device cannot do (a camera has no other camera's identity) is None and stands in `CANNOT`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drivers.base import BadSampleError, Driver, Sample
from drivers.frame_source import FrameSource
from drivers.nmea_gps import NmeaGps
from drivers.pi_camera import PiCamera
from drivers.sim.receiver_unit import Unit
from drivers.v4l2_camera import V4l2Camera
from tests.drivers import imus, receiver_bench, shooting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Drivers of `drivers/` without a rig, and why. This list may only become shorter.
UNTRIED = {
    "argus_camera": "its source is GStreamer, which is not on every machine; it has its own tests",
}


@dataclass
class Rig:
    """A device and its driver.

    Args:
        make: makes the driver, not opened; takes further options.
        stop: ends the model.
        nowhere: options with which there is no such device.
        vanish: the device is gone for so many seconds.
        other: another device answers from now on; returns what the error must name.
        lose: the device loses some samples from now on.
        spoil: the next sample cannot be understood.
        brown_out: the device forgets its set-up, or is replaced by one that was never set up.
        vendor_known: whether the device can say who it is.
    """

    make: Callable[..., Driver]
    stop: Callable[[], object]
    nowhere: dict[str, Any]
    vanish: Callable[[float], None]
    lose: Callable[[], None]
    other: Callable[[], str] | None = None
    spoil: Callable[[], None] | None = None
    brown_out: Callable[[], None] | None = None
    vendor_known: bool = True


def imu(kind: imus.Kind) -> Callable[[Path], Rig]:
    """Return what makes a rig of an IMU."""

    def build(folder: Path) -> Rig:
        bench = imus.Bench(kind, folder)

        def vanish(seconds: float) -> None:
            bench.bus.fault("nak", n=10_000)
            threading.Timer(seconds, lambda: bench.bus.fault("nak", n=0)).start()

        def other() -> str:
            bench.chip.fault("wrong_id", value=0x42)
            return "0x42"

        return Rig(
            make=bench.driver,
            stop=bench.stop,
            nowhere={"address": 0x55},
            vanish=vanish,
            lose=lambda: bench.bus.fault("overflow", seconds=2.4),
            other=other,
            brown_out=lambda: bench.chip.fault("brown_out"),
        )

    return build


def gps(folder: Path) -> Rig:
    """A receiver on a pseudo-terminal, 10 epochs a second, each with one sentence of the fix."""
    bench = receiver_bench.Bench(folder, Unit(115_200), sentences=("RMC", "GSA", "VTG"))
    bench.thread.start()
    usual: dict[str, Any] = {"device": str(bench.link), "baud": 115_200}

    deadline_s = time.monotonic() + 5
    while not bench.link.exists():
        assert time.monotonic() < deadline_s, "the receiver has no terminal"
        time.sleep(0.01)  # the next look

    def stop() -> None:
        bench.stop.set()
        bench.thread.join(5)
        assert not bench.thread.is_alive()

    return Rig(
        make=lambda **options: NmeaGps(**{**usual, **options}),
        stop=stop,
        nowhere={"device": str(folder / "none")},
        vanish=lambda seconds: bench.receiver.fault("unplug", seconds=seconds),
        lose=lambda: bench.receiver.fault("drop_epochs", n=3),
        spoil=lambda: bench.receiver.fault("flip"),
        vendor_known=False,  # NMEA has no question for it
    )


def camera(driver: type[Driver]) -> Callable[[Path], Rig]:
    """Return what makes a rig of a camera's driver on the camera model."""

    def build(folder: Path) -> Rig:
        bench = shooting.Bench(folder)
        size = {} if driver is FrameSource else {"width": 320, "height": 240}
        usual: dict[str, Any] = {"device": bench.device, "rate_hz": shooting.RATE_HZ, **size}

        def make(**options: Any) -> Driver:
            made: Driver = driver(**{**usual, **options})
            return made

        return Rig(
            make=make,
            stop=bench.stop,
            nowhere={"device": f"unix:{folder / 'none'}"},
            vanish=lambda seconds: bench.camera.fault("unplug", seconds=seconds),
            lose=lambda: bench.camera.fault("drop", n=3),
            spoil=lambda: bench.camera.fault("garbage"),
        )

    return build


RIGS: dict[str, Callable[[Path], Rig]] = {
    **{name: imu(kind) for name, kind in imus.KINDS.items()},
    "nmea_gps": gps,
    "frame_source": camera(FrameSource),
    "pi_camera": camera(PiCamera),
    "v4l2_camera": camera(V4l2Camera),
}


def take(driver: Driver, samples: int, within_s: float = 10.0) -> list[Sample]:
    """Read so many samples; what is unreadable is passed over."""
    found: list[Sample] = []
    deadline_s = time.monotonic() + within_s
    while len(found) < samples:
        assert time.monotonic() < deadline_s, f"only {len(found)} samples came"
        try:
            sample = driver.read(0.2)
        except BadSampleError:
            continue
        if sample is not None:
            found.append(sample)
    return found


def until(driver: Driver, error: type[Exception], within_s: float = 10.0) -> Exception:
    """Read until the driver raises such an error, and return it."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        try:
            driver.read(0.2)
        except error as found:
            return found
    raise AssertionError(f"no {error.__name__} in {within_s} s")
