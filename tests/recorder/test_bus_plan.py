from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.mpu6050 import Mpu6050
from recorder.cli.bus_plan import USUAL_HZ, i2c_share, stated_hz

LANE = """
[[lanes]]
name = "{name}"
driver = "{driver}"
device = "unix:none"
rate_hz = {rate_hz}
{more}
"""


@pytest.fixture
def adapters(tmp_path):
    """What the kernel says of a bus of 400 kHz."""
    node = tmp_path / "i2c-1" / "of_node"
    node.mkdir(parents=True)
    (node / "clock-frequency").write_bytes((400_000).to_bytes(4, "big"))
    return tmp_path


def planned(folder: Path, *lanes: dict[str, object]) -> dict[str, object]:
    file = folder / "recorder.toml"
    head = f'[spool]\ndirectory = "{folder}"\nrun_dir = "{folder}"\n[upload]\nmode = "off"\n'
    file.write_text(head + "".join(LANE.format(**{"more": "", **one}) for one in lanes))
    command = [sys.executable, "-c", "from recorder.cli import main; main()", "check", "--json"]
    done = subprocess.run(
        [*command, "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 1, done.stderr  # nothing is there
    facts: dict[str, object] = json.loads(done.stdout)
    return facts


def refusals(facts: dict[str, object]) -> list[str]:
    findings = facts["findings"]
    assert isinstance(findings, list)
    return [one for one in findings if "of what it can carry" in one]


def test_the_clock_of_a_bus_is_what_the_device_tree_says_or_the_usual_one(adapters):
    assert stated_hz("/dev/i2c-1", adapters) == 400_000
    assert stated_hz("/dev/i2c-7", adapters) == USUAL_HZ
    driver = Mpu6050(rate_hz=1000.0)
    share = i2c_share(driver, "/dev/i2c-1", adapters)
    assert i2c_share(driver, "/dev/i2c-7", adapters) == pytest.approx(4 * share)
    told = Mpu6050(rate_hz=1000.0, bus_hz=1_000_000)
    assert i2c_share(told, "/dev/i2c-1", adapters) == pytest.approx(share * 0.4)


def test_every_bit_on_the_wire_counts():
    driver = Mpu6050(rate_hz=1000.0)
    # Bursts of 36 rows (half of the FIFO) of 14 bytes. A transfer: two addresses, the register and
    # what is read, 9 bits each, two starts and a stop; count and status are asked each time.
    burst, count, status = ((3 + size) * 9 + 3 for size in (36 * 14, 2, 1))
    assert driver.bits_per_s == pytest.approx((burst + count + status) * 1000 / 36)


def test_check_refuses_one_khz_on_a_bus_of_100_khz(tmp_path):
    one = {"name": "imu", "driver": "mpu6050", "rate_hz": 1000.0}
    assert "needs 129%" in refusals(planned(tmp_path, one))[0]
    assert refusals(planned(tmp_path, {**one, "more": "bus_hz = 400_000"})) == []


def test_the_lanes_of_a_bus_add_up(tmp_path):
    imu = {"name": "imu", "driver": "mpu6050", "rate_hz": 500.0}
    other = {"name": "other", "driver": "lsm6dso", "rate_hz": 208.0}
    fusion = {"name": "fusion", "driver": "bno055", "rate_hz": 50.0}
    assert refusals(planned(tmp_path, imu)) == []
    assert refusals(planned(tmp_path, imu, other, fusion)) != []


def test_check_names_a_calibration_that_is_not_there(tmp_path):
    facts = planned(
        tmp_path,
        {
            "name": "imu",
            "driver": "mpu6050",
            "rate_hz": 100.0,
            "more": 'calibration = "/none/x.json"',
        },
    )
    findings = facts["findings"]
    assert isinstance(findings, list)
    assert any("/none/x.json" in one for one in findings)
