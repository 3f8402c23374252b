"""A look at every device: who it is, what it gives, and what that costs its bus and the spool."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drivers.base import BadSampleError, DriverError, StillLookingError, StuckDeviceError
from drivers.i2c import I2cDriver
from recorder import status
from recorder.cli.bus_plan import i2c_share
from recorder.clock import boot_ns
from recorder.configfile.guard import guarded
from recorder.devices import make_driver
from recorder.errors import ConfigError
from recorder.record import HEADER_BYTES
from recorder.schema import LaneSchema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drivers.base import Device, Driver, Sample
    from recorder.config import Config, Lane

#: A look ends with so many samples, or after so long.
_SAMPLES, _LOOK_S, _READ_S = 3, 2.5, 0.2
#: A device whose speed has to be found is opened again for so long.
_SEARCH_S = 12.0
#: A lane that gave a life sign within this time has its device open.
_FRESH_S = 5.0
#: What a driver of a fast chip gathers before it hands it over, at least.
_BURST_S = 0.05
#: JPEG of a street: 0.1 to 0.2 bytes per pixel; and a picture of unknown size.
_PICTURE_BYTES_PER_PIXEL, _PICTURE_BYTES = 0.15, 100_000
#: RMC, GGA, GSA, VTG: what most receivers send in an epoch.
_EPOCH_LINES, _LINE_BYTES = 4, 70


@dataclass(frozen=True)
class Look:
    """What one lane's device showed.

    Args:
        lane: name of the lane.
        driver: its driver.
        required: whether the recording counts on it.
        place: path of the device, and its address if it has one.
        state: ``with`` and a lane (whose process fills this one),
            ``present``, ``in use`` (by the recorder that runs), ``silent`` (opened, but gave
            nothing in 2.5 s), ``absent``, ``stuck`` (opened, and dead since: nothing of it may be
            called in this process any more), or ``failed`` (the driver raised what no driver
            should).
        device: who it says it is.
        error: why it is absent or failed; empty if it is neither.
        rate_hz: samples per second that it is told to give.
        bytes_per_s: into the spool.
        is_measured: whether that comes from samples; else pictures of a usual size are assumed.
        bus: ``uart`` or ``i2c`` and its path, empty if neither.
        bus_load: share of the bus's capacity that this lane needs, None where it is not known.
    """

    lane: str
    driver: str
    required: bool
    place: str
    state: str
    device: dict[str, Any]
    error: str
    rate_hz: float
    bytes_per_s: float
    is_measured: bool
    bus: str
    bus_load: float | None

    @property
    def is_missing(self) -> bool:
        """Whether a recording would begin without this device although it is required.

        A driver that failed counts even if its lane is optional: it would end the lane's process.
        """
        is_away = self.state in ("absent", "silent", "stuck")
        return self.state == "failed" or (self.required and is_away)


def look(config: Config, lane: Lane) -> Look:
    """Open a lane's device once, unless the recorder that runs has it open.

    Takes up to 4 s, or 20 s where a receiver's speed has to be found.
    """
    driver = make_driver(lane)
    seen = _in_use(config, lane) or _seen(driver, lane)
    bus, bus_load = _bus(driver)
    return Look(
        lane=lane.name,
        driver=driver.kind,
        required=lane.required,
        place=_place(driver),
        state=seen.state,
        device=seen.device,
        error=seen.error,
        rate_hz=driver.rate_hz,
        bytes_per_s=_lines_bytes_per_s(config, lane) or _bytes_per_s(driver, seen.samples),
        is_measured=bool(seen.samples),
        bus=bus,
        bus_load=bus_load,
    )


def bus_loads(looks: Iterable[Look]) -> dict[str, float]:
    """Return the share of each bus's capacity that all its lanes need together."""
    loads: dict[str, float] = {}
    for one in looks:
        if one.bus_load is not None:
            loads[one.bus] = loads.get(one.bus, 0.0) + one.bus_load
    return loads


@dataclass(frozen=True)
class _Seen:
    state: str
    device: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    samples: list[Sample] = field(default_factory=list)


def _in_use(config: Config, lane: Lane) -> _Seen | None:
    sign = status.read(config.spool.run_dir, f"lane-{lane.name}")
    if sign is None or (boot_ns() - sign["boot_ns"]) / 1e9 > _FRESH_S:
        return None
    if sign["state"] == "running":
        return _Seen("in use", sign["device"])
    if sign["state"] == "stopped":
        return None  # nobody has it open any more
    return _Seen("absent", error=sign["state"].removeprefix("absent: "))


def _seen(driver: Driver, lane: Lane) -> _Seen:
    return _Seen(f"with {lane.filled_by}") if lane.filled_by else _opened(driver, lane.driver)


def _opened(driver: Driver, name: str) -> _Seen:
    try:
        with guarded(name), driver:
            device = dataclasses.asdict(_open(driver))
            samples = _read(driver)
            samples += driver.finish()
    except StuckDeviceError as error:
        return _Seen("stuck", error=str(error))
    except DriverError as error:
        return _Seen("absent", error=str(error))
    except ConfigError as error:
        return _Seen("failed", error=str(error))
    return _Seen("present" if samples else "silent", device, samples=samples)


def _open(driver: Driver) -> Device:
    deadline_s = time.monotonic() + _SEARCH_S
    while True:
        try:
            return driver.open()
        except StillLookingError:
            if time.monotonic() > deadline_s:
                raise


def _read(driver: Driver) -> list[Sample]:
    samples: list[Sample] = []
    deadline_s = time.monotonic() + _LOOK_S
    while len(samples) < _SAMPLES and time.monotonic() < deadline_s:
        try:
            sample = driver.read(_READ_S)
        except BadSampleError:
            continue  # the next may be whole; a device that gives nothing else is silent
        if sample is not None:
            samples.append(sample)
    return samples


def _place(driver: Driver) -> str:
    device, address = getattr(driver, "device", ""), getattr(driver, "address", None)
    return f"{device}" if address is None else f"{device} {address:#04x}"


def _lines_bytes_per_s(config: Config, lane: Lane) -> float:
    """Return what a receiver's raw lines write, 0 for any other lane."""
    if not lane.filled_by:
        return 0.0
    lines_hz = make_driver(config.lane(lane.filled_by)).rate_hz * _EPOCH_LINES
    return lines_hz * (_LINE_BYTES + HEADER_BYTES)


def _bytes_per_s(driver: Driver, samples: list[Sample]) -> float:
    rows = sum(one.rows for one in samples)
    if rows:
        payload_bytes = sum(len(part) for one in samples for part in one.payload)
        return driver.rate_hz * (payload_bytes + HEADER_BYTES * len(samples)) / rows
    row_bytes = LaneSchema.of("", driver).row_bytes
    if driver.blob is None:
        rows_per_record = max(1.0, driver.rate_hz * _BURST_S)
        return driver.rate_hz * (row_bytes + HEADER_BYTES / rows_per_record)
    pixels = getattr(driver, "width", 0) * getattr(driver, "height", 0)
    picture_bytes = pixels * _PICTURE_BYTES_PER_PIXEL or _PICTURE_BYTES
    return driver.rate_hz * (row_bytes + picture_bytes + HEADER_BYTES)


def _bus(driver: Driver) -> tuple[str, float | None]:
    """Return the bus's name and the share of it that the driver needs."""
    device = str(getattr(driver, "device", ""))
    if device.startswith("/"):
        device = os.path.realpath(device)
    if hasattr(driver, "line_load"):
        return f"uart {device}", driver.line_load()
    if isinstance(driver, I2cDriver):
        return f"i2c {device}", i2c_share(driver, device)
    return "", None
