"""What systemd is told of a box by its configuration."""

from __future__ import annotations

import pkgutil
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import drivers
from drivers.base import Driver
from recorder.devices import driver_class
from recorder.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).parent.parent / "systemd/recorder-generator"
LANE = '[[lanes]]\nname = "{name}"\ndriver = "{driver}"\n'
#: These open no device node of a kind of their own: a socket, and NVIDIA's daemon.
WITHOUT = {"argus_camera", "frame_source"}


@pytest.fixture
def generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The generator, whose configuration is `recorder.toml` in a folder of the test."""
    loader = SourceFileLoader("recorder_generator", str(SCRIPT))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    module = module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "CONFIG", tmp_path / "recorder.toml")
    return module


def generated(generator: Any, tmp_path: Path, config: str) -> dict[str, str]:
    """Return by name what it wrote; of a link, its target."""
    (tmp_path / "recorder.toml").write_text(config)
    folder = tmp_path / "out"
    folder.mkdir()
    generator.main(folder)
    return {
        str(one.relative_to(folder)): str(one.readlink()) if one.is_symlink() else one.read_text()
        for one in folder.rglob("*")
        if one.is_symlink() or one.is_file()
    }


def test_every_lane_of_the_configuration_is_wanted(generator: ModuleType, tmp_path: Path) -> None:
    text = LANE.format(name="gps", driver="nmea_gps") + LANE.format(name="rear", driver="own:Mine")
    found = generated(generator, tmp_path, text)
    wanted = {one for one in found if one.startswith("recorder.target.wants/")}
    lanes = ("lane@gps", "lane@rear")
    units = (*lanes, "spool", "settings", "upload")
    assert wanted == {f"recorder.target.wants/recorder-{one}.service" for one in units}
    assert found["recorder.target.wants/recorder-lane@gps.service"].endswith(
        "/recorder-lane@.service"
    )


def test_a_configuration_that_cannot_be_read_starts_the_spool(
    generator: ModuleType, tmp_path: Path
) -> None:
    found = generated(generator, tmp_path, "lanes = [")
    assert "recorder.target.wants/recorder-spool.service" in found


@pytest.mark.parametrize(
    "wrong",
    [
        "lanes = 1",
        "[lanes.gps]",
        "[[lanes]]",
        '[[lanes]]\nname = "../gps"',
        "[[lanes]]\nname = 7",
        '[[lanes]]\nname = "imu"\ndriver = ["mpu6050"]',
        '[[lanes]]\nname = "gps"\n[[lanes]]\nname = "gps"',
        '[[upload]]\nmode = "live"',
    ],
)
def test_a_configuration_that_is_otherwise_than_it_must_be_starts_the_spool_and_the_page(
    generator: ModuleType, tmp_path: Path, wrong: str
) -> None:
    text = f"{wrong}\n[web]\nenabled = true\n"
    found = generated(generator, tmp_path, text)
    wants = [one for one in found if one.startswith("recorder.target.wants/")]
    for unit in ("recorder-spool.service", "recorder-web.service"):
        assert f"recorder.target.wants/{unit}" in wants
    assert not {"recorder-lane@7.service", "gps.service"} & {Path(one).name for one in wants}


def test_the_upload_comes_back_with_the_partition_that_it_requires(
    generator: ModuleType, tmp_path: Path
) -> None:
    found = generated(generator, tmp_path, '[upload]\nmode = "live"\n')
    wants = {one for one in found if one.startswith("var-lib-recorder.mount.wants/")}
    assert wants == {"var-lib-recorder.mount.wants/recorder-upload.service"}


def test_a_lane_sees_devices_of_its_own_kind_alone(generator: ModuleType, tmp_path: Path) -> None:
    text = LANE.format(name="imu", driver="mpu6050")
    drop_in = generated(generator, tmp_path, text)[
        "recorder-lane@imu.service.d/10-devices.conf"
    ].splitlines()
    # An empty value takes away what the unit's own file allows.
    assert drop_in.index("DeviceAllow=") < drop_in.index("DeviceAllow=char-i2c rw")
    assert drop_in.index("SupplementaryGroups=") < drop_in.index("SupplementaryGroups=recorder i2c")
    assert sum(one.startswith("DeviceAllow=char-") for one in drop_in) == 1


def test_a_driver_of_the_user_s_own_has_what_the_unit_s_file_allows(
    generator: ModuleType, tmp_path: Path
) -> None:
    found = generated(generator, tmp_path, LANE.format(name="own", driver="mine.chip:Chip"))
    assert not [one for one in found if "devices.conf" in one]


def test_what_every_driver_needs_is_known(generator: Any) -> None:
    found = set()
    for module in pkgutil.iter_modules(drivers.__path__):
        try:
            driver = driver_class(module.name)
        except ConfigError:
            continue
        assert issubclass(driver, Driver)
        found.add(module.name)
    assert found
    assert found == set(generator.NEEDS) | WITHOUT


def test_what_a_lane_is_allowed_is_a_part_of_what_its_unit_s_file_allows(generator: Any) -> None:
    text = SCRIPT.with_name("recorder-lane@.service").read_text()
    for group, classes in set(generator.NEEDS.values()):
        assert group in text
        for one in classes:
            assert f"DeviceAllow=char-{one} rw" in text


def test_a_lane_with_a_long_name_gets_a_user_with_a_short_one(
    generator: Any, tmp_path: Path
) -> None:
    name = "a-lane-whose-name-is-longer-than-a-user-s"
    found = generated(generator, tmp_path, LANE.format(name=name, driver="mpu6050"))
    user = found[f"recorder-lane@{name}.service.d/user.conf"].partition("User=")[2].strip()
    assert len(user) <= generator.MOST_NAME


def test_the_supply_is_watched_where_an_input_is_named(generator: Any, tmp_path: Path) -> None:
    watched = generated(generator, tmp_path, '[power]\nlow = "/dev/gpiochip0:4"\n')
    wants = "recorder.target.wants/recorder-power"
    assert watched[f"{wants}.service"].endswith("/recorder-power.service")
    assert watched[f"{wants}-off.path"].endswith("/recorder-power-off.path")
    for power in ({}, {"keep_on_s": 5.0}, {"low": ""}):
        assert not any("power" in one for one in generator.units({"power": power}))


@pytest.mark.parametrize("has_device_tree", [False, True])
def test_the_number_of_a_pcs_board_reaches_the_processes_that_may_not_read_it(
    generator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_device_tree: bool
) -> None:
    number = tmp_path / "product_uuid"
    number.write_text("4c4c4544-0042-3510-8051-b4c04f4e4d32\n")
    monkeypatch.setattr(generator, "PRODUCT_UUID", number)
    monkeypatch.setattr(generator, "DEVICE_TREE", tmp_path if has_device_tree else number / "no")
    found = generated(generator, tmp_path, "")
    for unit in ("recorder-spool", "recorder-upload"):
        text = found.get(f"{unit}.service.d/board.conf", "")
        assert ("RECORDER_BOARD=4c4c4544-0042-3510-8051-b4c04f4e4d32" in text) is not (
            has_device_tree
        )
