from __future__ import annotations

import csv
import json
import os
import signal
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from drivers.base import DeviceLostError, Driver, Sample
from drivers.camera import ROW
from drivers.frame_source import FrameSource
from drivers.mpu6050 import Mpu6050
from drivers.nmea_gps import NmeaGps
from drivers.sim.models import source
from drivers.sim.pictures import read_number
from drivers.sim.world import World
from tests.known import known

VEHICLE: dict[str, Any] = {"source": {"kind": "vehicle"}, "imu": {"rate_error": -0.01}}
GPS_UTC = struct.Struct("<q")


class Reader(threading.Thread):
    """Reads one device until told to stop, as a lane does."""

    def __init__(self, driver: Driver, stop: threading.Event) -> None:
        super().__init__()
        self.samples: list[Sample] = []
        self._driver = driver
        self._end = stop

    def run(self) -> None:
        with self._driver as driver:
            driver.open()
            while not self._end.is_set():
                sample = driver.read(0.2)
                if sample is not None:
                    self.samples.append(sample)
            self.samples += driver.finish()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_all_three_devices_give_exactly_what_their_models_wrote_down(tmp_path):
    stop = threading.Event()
    with World(tmp_path, VEHICLE) as world:
        readers = [
            Reader(driver, stop)
            for driver in (
                NmeaGps(device=str(world.gps), baud=115_200),
                Mpu6050(device=f"unix:{world.i2c}", rate_hz=100),
                FrameSource(device=f"unix:{world.camera}"),
            )
        ]
        for reader in readers:
            reader.start()
        time.sleep(2.0)
        stop.set()
        for reader in readers:
            reader.join(5)
            assert not reader.is_alive()
    gps, imu, frames = (reader.samples for reader in readers)

    heard = [epoch["utc_ns"] for epoch in lines(world.logs / "gps.jsonl") if epoch["heard"]]
    assert len(heard) > 10
    assert [GPS_UTC.unpack_from(sample.payload[0])[0] for sample in gps] == heard

    with (world.logs / "imu.csv").open() as file:
        produced = [tuple(map(int, row))[2:] for row in list(csv.reader(file))[1:]]
    rows = b"".join(b"".join(sample.payload) for sample in imu)
    assert len(produced) > 100
    assert [row[:3] + row[4:] for row in struct.iter_unpack(">3hh3h", rows)] == produced

    shot = lines(world.logs / "camera.jsonl")
    assert len(shot) > 10
    assert [ROW.unpack(sample.payload[0])[:2] for sample in frames] == [
        (line["frame"], line["crc32"]) for line in shot
    ]
    assert all(read_number(bytes(sample.payload[1])) == sample.counter for sample in frames)


def test_the_imu_feels_the_first_instant_until_the_receiver_has_its_power(tmp_path):
    with World(tmp_path, VEHICLE) as world, Mpu6050(device=f"unix:{world.i2c}") as driver:
        driver.open()
        sample = known(driver.read(2.0))
    row = struct.unpack_from(">3hh3h", sample.payload[0])
    at_rest = source(VEHICLE["source"])[1].at(0.0)
    scale = driver.fields[2].scale
    assert row[2] * scale == pytest.approx(at_rest.az, abs=2 * scale)
    assert abs(row[6]) <= 1  # a count of noise


def test_faults_reach_their_devices(tmp_path):
    with (
        World(tmp_path, VEHICLE) as world,
        Mpu6050(device=f"unix:{world.i2c}") as imu,
        FrameSource(device=f"unix:{world.camera}") as camera,
    ):
        imu.open()
        camera.open()
        world.fault("imu", "brown_out")
        world.fault("camera", "drop", n=2)
        with pytest.raises(DeviceLostError, match="lost its supply"):
            read_for(imu, 5)
        assert first_gap(camera) == 2


def first_gap(camera: FrameSource) -> int:
    """Return how many frames are missing at the first place where any are."""
    expected = 0
    for _ in range(30):
        sample = camera.read(1)
        if sample is not None and sample.counter != expected:
            return known(sample.counter) - expected
        expected += sample is not None
    return 0


def read_for(driver: Driver, seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        driver.read(0.2)


def test_an_unknown_fault_ends_the_world_in_sight(tmp_path, capfd):
    with World(tmp_path, VEHICLE) as world:
        world.fault("imu", "no_such_fault")
        world.close()
    assert "no fault 'no_such_fault'" in capfd.readouterr().err


def test_the_world_ends_with_sigterm_and_takes_its_devices_along(tmp_path):
    with World(tmp_path, VEHICLE) as world:
        assert world.i2c.exists()
        os.kill(world.pid, signal.SIGTERM)
        world.close()
        assert not any(path.exists() for path in (world.gps, world.i2c, world.camera))


def test_a_world_that_cannot_start_says_why_in_one_line(tmp_path, capfd):
    settings = {"source": {"kind": "drive", "path": str(tmp_path / "none.csv")}}
    with pytest.raises(RuntimeError, match=r"did not start: .*none\.csv"):
        World(tmp_path, settings).__enter__()
    assert capfd.readouterr().err == ""


def test_a_receivers_log_becomes_bytes_and_the_motion_along_its_track(tmp_path):
    log = tmp_path / "short.log"
    bodies = [f"GPRMC,1200{n:02d}.00,A,4800.0,N,01100.0,E,{n}.0,90.0,010326,,,A" for n in range(9)]
    log.write_text("# a comment\n" + "".join(f"${b}*{checksum(b):02X}\r\n" for b in bodies))
    bursts, motion = source({"kind": "log", "path": str(log)})
    assert b"".join(burst.data for burst in bursts) == log.read_bytes().split(b"\n", 1)[1]
    assert motion.at(3.0).ax == pytest.approx(1852 / 3600)  # a knot a second


def checksum(body: str) -> int:
    value = 0
    for byte in body.encode():
        value ^= byte
    return value


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="allowed are drive, log and vehicle"):
        source({"kind": "plane"})
