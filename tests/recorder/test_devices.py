"""What processes know of drivers that they do not have in them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.config import Config, Lane, Session, Spool, Upload, from_json, to_json
from recorder.devices import declared, handed_over
from recorder.errors import ConfigError
from recorder.spool.archive import Archive
from tests.known import known
from tests.recorder.building import ROOT

SPOOLER = """
import json, sys
import recorder.spooler
from recorder.config import from_json
from recorder.spool.archive import Archive
session = Archive(from_json(sys.argv[1]), {}).recording.session
print(json.dumps([session.to_dict(), sorted(sys.modules)]))
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    calibration = tmp_path / "imu.json"
    calibration.write_text('{"bias": [0.1, 0.2, 0.3]}')
    options = {"device": "1", "calibration": str(calibration)}
    return Config(
        lanes=[
            Lane(name="imu", driver="mpu6050", options=options),
            Lane(name="gps", driver="nmea_gps", rate_hz=5, options={"device": "/dev/ttyUSB0"}),
        ],
        session=Session(details={"purpose": "test"}),
        spool=Spool(directory=tmp_path / "data", run_dir=tmp_path / "run", free_floor_bytes=0),
        upload=Upload(mode="off"),
    )


def test_what_is_handed_over_has_what_the_drivers_declare_and_is_else_as_configured(
    config: Config,
) -> None:
    told = from_json(handed_over(config))
    imu, gps = (known(one.declared) for one in told.lanes)
    assert (imu.rate_hz, gps.rate_hz) == (200, 5)
    assert imu.documents == {"calibration": config.lanes[0].options["calibration"]}
    assert Path(imu.source).name == "mpu6050.py"
    assert to_json(told) == to_json(config)
    assert [declared(one) for one in told.lanes] == [declared(one) for one in config.lanes]


def test_what_a_driver_refuses_is_refused_before_anything_is_handed_over(config: Config) -> None:
    config.lanes[0].options["range_g"] = 3
    with pytest.raises(ConfigError, match=r"lane 'imu'.*range_g is 3"):
        handed_over(config)


def test_the_spool_describes_a_session_without_the_drivers_and_without_openssl(
    config: Config, tmp_path: Path
) -> None:
    config.rings_dir.mkdir(parents=True)
    archive = Archive(config, {})
    own = known(archive.recording).session.to_dict()
    archive.close()
    other = handed_over(config).replace(str(tmp_path / "data"), str(tmp_path / "other"))
    command = [sys.executable, "-c", SPOOLER, other]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60).stdout
    theirs, modules = json.loads(output)
    assert not {"drivers.mpu6050", "drivers.nmea_gps", "smbus2", "pynmea2"} & set(modules)
    assert "_hashlib" not in modules
    assert [one["rate_hz"] for one in theirs["lanes"]] == [200, 5]
    for kind in ("software", "calibration_imu"):
        assert theirs["dependencies"][kind] == own["dependencies"][kind]
