"""The page about sensors is true: its programs, step by step, and the finished one as a lane."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from drivers.base import BadSampleError, DeviceLostError, Sample, WrongDeviceError
from drivers.fifo_imu import FifoImu
from drivers.i2c import I2cDriver
from drivers.mpu6050 import Mpu6050
from drivers.sim.bus import BusServer
from recorder import configfile, lane
from recorder.columns import arrow_schema
from recorder.devices import driver_class
from recorder.record import DATA, HEADER_BYTES
from recorder.ring_files import ReaderSet
from recorder.schema import LaneSchema
from recorder.service import Stop

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "sensors.md"
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+?\.\w+)(?:, step (\d))?\n(.*?)^```$", re.M | re.S)
BLOCKS = {(name, step): text for name, step, text in BLOCK.findall(PAGE.read_text())}


def load(name: str, step: str, folder: Path) -> ModuleType:
    file = folder / f"{Path(name).stem}_{step}.py"
    file.write_text(BLOCKS[name, step])
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def chip(tmp_path):
    return load("bench.py", "", tmp_path).Tmp117Chip()


@pytest.fixture
def device(tmp_path, chip):
    bus = BusServer(tmp_path / "i2c", {0x48: chip})
    stop = threading.Event()
    thread = threading.Thread(target=bus.run, args=(stop,))
    thread.start()
    yield f"unix:{tmp_path / 'i2c'}"
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


@contextmanager
def opened(step: str, folder: Path, **options):
    with load("tmp117.py", step, folder).Tmp117(**options) as driver:
        assert isinstance(driver, I2cDriver)
        driver.open()
        yield driver


def until_read(driver: I2cDriver) -> Sample:
    deadline_s = time.monotonic() + 5
    while time.monotonic() < deadline_s:
        sample = driver.read(0.2)
        if sample is not None:
            return sample
    raise AssertionError("nothing came")


def read_on(driver: I2cDriver) -> None:
    deadline_s = time.monotonic() + 5
    while time.monotonic() < deadline_s:
        driver.read(0.2)


@pytest.mark.parametrize("step", ["1", "2", "3", "4"])
def test_every_step_finds_the_chip_and_refuses_another(step, device, chip, tmp_path):
    with opened(step, tmp_path, device=device):
        pass
    chip.registers[0x0F] = 0x0118
    with pytest.raises(WrongDeviceError, match="identity is 0x118, a tmp117 has 0x117"):
        opened(step, tmp_path, device=device).__enter__()


@pytest.mark.parametrize("step", ["2", "3", "4"])
def test_every_step_that_reads_gives_the_temperature(step, device, tmp_path):
    with opened(step, tmp_path, device=device) as driver:
        sample = until_read(driver)
        [field] = driver.fields
    count = int.from_bytes(sample.payload[0], "big", signed=True)
    assert count * field.scale + field.offset == pytest.approx(273.15 + 21.5)
    arrow_schema(LaneSchema.of("cabin", driver))


@pytest.mark.parametrize("step", ["3", "4"])
def test_a_step_with_options_sets_the_rate_and_refuses_others(step, device, chip, tmp_path):
    with opened(step, tmp_path, device=device, rate_hz=8.0) as driver:
        until_read(driver)
    assert chip.registers[0x01] & 0x0FFC == 0x0020
    with pytest.raises(ValueError, match="rate_hz is 3, a TMP117 has 1 and 8"):
        load("tmp117.py", step, tmp_path).Tmp117(rate_hz=3)


def test_the_finished_driver_sees_a_brown_out(device, chip, tmp_path):
    with opened("4", tmp_path, device=device, rate_hz=8.0) as driver:
        until_read(driver)
        chip.brown_out()
        with pytest.raises(DeviceLostError, match="was reset: its set-up is 0x2220"):
            read_on(driver)
        driver.close()
        driver.open()
        until_read(driver)


def test_what_was_not_measured_is_no_temperature(device, chip, tmp_path):
    with opened("4", tmp_path, device=device, rate_hz=8.0) as driver:
        until_read(driver)
        chip.tick = lambda: chip.registers.update({0x00: 0x8000, 0x01: 0x2020})
        with pytest.raises(BadSampleError, match="not measured"):
            driver.read(1.0)


@pytest.fixture
def folder(tmp_path, device, monkeypatch):
    """The page's three files in a folder, and the model running."""
    (tmp_path / "tmp117.py").write_text(BLOCKS["tmp117.py", "4"])
    (tmp_path / "recorder.toml").write_text(BLOCKS["recorder.toml", ""])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("tmp117", None)


def test_the_finished_driver_records_as_a_lane(folder):
    config = configfile.load(Path("recorder.toml"))
    stop = Stop()
    thread = threading.Thread(target=lane.main, args=(config, stop, "cabin"))
    thread.start()
    deadline_s = time.monotonic() + 15
    samples = 0
    while samples < 8 and time.monotonic() < deadline_s:
        stop.wait(0.1)
        found = list((folder / "run").rglob("lane-cabin*"))
        samples = json.loads(found[0].read_text())["samples"] if found else 0
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert samples >= 8
    readers = ReaderSet(config.rings_dir)
    assert readers.look() == []
    rows = [
        b"".join(runs)[HEADER_BYTES:]
        for ring in readers
        for header, runs in ring.records()
        if header.kind == DATA
    ]
    readers.close()
    assert len(rows) >= samples
    assert set(rows) == {round(21.5 / 7.8125e-3).to_bytes(2, "big")}


def test_check_opens_the_finished_driver_and_says_what_it_costs_its_bus(folder):
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from recorder.cli import main; main()"),
            *("check", "--config", "recorder.toml", "--json"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
    )
    facts = json.loads(done.stdout)
    [found] = facts["devices"]
    assert (found["state"], found["device"]["model"]) == ("present", "TMP117")
    assert list(facts["bus_loads"]) == ["i2c unix:i2c"]


def test_the_table_has_every_driver_of_an_imu_and_all_its_chips():
    text = PAGE.read_text()
    for name in ("mpu6050", "icm20948", "lsm6dso", "lsm6ds3", "bmi270"):
        driver = driver_class(name)
        assert issubclass(driver, FifoImu)
        [row] = [line for line in text.splitlines() if line.startswith(f"| `{name}`")]
        assert set(re.findall(r"`(\S+?)`", row.split("|")[2])) == set(driver.chips)
        assert f"{driver.usual_address:#04X}".replace("X", "x") in row
    assert f"{Mpu6050(rate_hz=1000.0).bits_per_s / 1000:.0f} kbit/s" in text
