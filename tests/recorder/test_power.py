"""Ignition and low voltage: when recordings end, and when the box is powered off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from recorder.cli import recorder
from recorder.clock import boot_ns
from recorder.config import Power, Rule, Upload, from_json, to_json
from recorder.configfile import load
from recorder.errors import ConfigError
from recorder.ground import GroundStation
from recorder.power import Input
from tests.recorder.building import Machine, assert_sound, free_port, lane_numbers, wait_until
from tests.recorder.supplied import Supplied, supplied

S = 1_000_000_000


@pytest.fixture
def pin(tmp_path: Path) -> Path:
    path = tmp_path / "pin"
    path.write_text("1\n")
    return path


def assert_ended_whole(one: Supplied) -> None:
    """The newest recording ended on request, and every sample that it stored is there."""
    session = one.sessions()[-1]
    assert (session.end_reason, session.recording) == ("shutdown", "stopped")
    assert_sound(one.spool)
    stored = lane_numbers(one.spool, "imu", session.id)
    assert len(stored) == session.lanes[0].stored > 50
    assert session.lanes[0].imbalances() == []


# --- inputs


def test_an_input_says_for_how_long_it_has_been_so(pin: Path) -> None:
    one = Input(f"file:{pin}", active_low=False)
    assert one.held_s(1 * S, active=True) == 0.0
    assert one.held_s(3 * S, active=True) == 2.0
    assert one.held_s(3 * S, active=False) is None
    pin.write_text("0\n")
    assert one.held_s(4 * S, active=False) == 0.0
    pin.write_text("1\n")
    assert one.held_s(5 * S, active=False) is None
    pin.write_text("0\n")
    assert one.held_s(6 * S, active=False) == 0.0


def test_an_input_that_cannot_be_read_is_neither_on_nor_off(
    pin: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Input(f"file:{pin}", active_low=False)
    pin.unlink()
    for active in (True, False):
        assert one.held_s(1 * S, active=active) is None
    assert "No such file" in one.error
    assert len(caplog.records) == 1
    pin.write_text("0\n")
    assert one.held_s(9 * S, active=False) == 0.0
    assert one.error == ""


@pytest.mark.parametrize("active_low", [False, True])
def test_an_input_that_somebody_writes_anew_is_neither_on_nor_off(
    pin: Path, active_low: bool
) -> None:
    one = Input(f"file:{pin}", active_low=active_low)
    with pin.open("w") as file:  # empty from here on, until the number is written
        for active in (True, False):
            assert one.held_s(1 * S, active=active) is None
        file.write("1\n")
    assert one.held_s(2 * S, active=not active_low) == 0.0


def test_a_voltage_is_low_below_its_limit_and_may_lie_where_a_number_changes(
    tmp_path: Path,
) -> None:
    file = tmp_path / "hwmon7" / "in1_input"
    file.parent.mkdir()
    one = Input(f"file:{tmp_path}/hwmon*/in1_input", active_low=False, low_units=11_000)
    for text, low in (("11000\n", None), ("10999\n", 0.0), ("10999.5", 0.0), ("", None)):
        file.write_text(text)
        assert one.held_s(boot_ns(), active=True) == low or low == 0.0
    assert "could not convert" in one.error


# --- the configuration


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('ignition = "17"', "power.ignition: found '17': must be such as '/dev/gpiochip0:17'"),
        ('voltage = "/dev/gpiochip0:3"\nlow_volts = 11.0', "power.voltage: found "),
        ('voltage = "file:/sys/in0"', "power.low_volts: is missing"),
        ("low_volts = 11.0", "power.voltage: is missing"),
        ("keep_on_s = -1", "power.keep_on_s: found -1"),
        ("low_volt = 11.0", "did you mean 'low_volts'?"),
    ],
)
def test_what_is_wrong_with_the_table_is_named(tmp_path: Path, keys: str, said: str) -> None:
    file = tmp_path / "recorder.toml"
    lane = '[[lanes]]\nname = "imu"\ndriver = "mpu6050"\n[upload]\nmode = "off"\n'
    file.write_text(f"{lane}[power]\n{keys}\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert said in str(caught.value)


def test_the_table_reaches_the_processes(tmp_path: Path) -> None:
    one = Supplied(tmp_path)
    assert from_json(to_json(one.config)) == one.config
    assert set(one.config.power.inputs) == {"ignition", "voltage"}
    assert Power().inputs == {}
    assert Machine(tmp_path / "other").config.power == Power()


def test_without_an_input_there_is_nothing_to_watch(tmp_path: Path) -> None:
    file = tmp_path / "recorder.toml"
    file.write_text('[[lanes]]\nname = "imu"\ndriver = "mpu6050"\n[upload]\nmode = "off"\n')
    result = CliRunner().invoke(recorder, ["power", "--config", str(file)])
    unit = Path(__file__).parents[2] / "systemd/recorder-power.service"
    assert f"RestartPreventExitStatus={result.exit_code}\n" in unit.read_text()
    assert "[power] names no input" in result.output


def test_check_says_which_input_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "recorder.toml"
    lane = '[[lanes]]\nname = "a"\ndriver = "tests.recorder.counting_device:Counting"\n'
    spool = '[spool]\ndirectory = "data"\nrun_dir = "run"\n[upload]\nmode = "off"\n'
    file.write_text(f'{lane}{spool}[power]\nlow = "file:{tmp_path}/nothing"\n')
    result = CliRunner().invoke(recorder, ["check", "--config", str(file)])
    assert result.exit_code == 1
    assert f"line file:{tmp_path}/nothing: No such file" in " ".join(result.output.split())


# --- real processes


def test_low_voltage_ends_the_recording_and_then_asks_for_power_off(tmp_path: Path) -> None:
    with supplied(tmp_path) as one:
        one.start_all()
        one.voltage.write_text("10900\n")
        wait_until(one.off_file.exists)
        # Nothing else ended it: by the time of the wish it was durable.
        assert one.sessions()[-1].recording == "stopped"
        assert json.loads(wait_until(one.off_file.read_text))["why"] == "the supply is low"
        wait_until(lambda: one.sign("power").get("state") == "off")
        assert one.end("lane") == one.end("spool") == one.end("power") == 0
        assert_ended_whole(one)
        assert len(one.sessions()) == 1


def test_a_dip_that_is_shorter_than_it_must_be_changes_nothing(tmp_path: Path) -> None:
    with supplied(tmp_path, low_for_s=60.0) as one:
        one.start_all()
        one.voltage.write_text("6000\n")
        before = one.sign("power")["boot_ns"]
        wait_until(lambda: one.sign("power")["boot_ns"] > before + 2 * S)
        assert not one.off_file.exists()
        assert one.sign("spool")["session"] is not None


def test_ignition_off_with_nothing_to_upload_powers_off_at_once(tmp_path: Path) -> None:
    with supplied(tmp_path) as one:
        one.start_all()
        one.ignition.write_text("0\n")
        wait_until(one.off_file.exists)
        assert "everything is uploaded" in wait_until(one.off_file.read_text)
        assert_ended_whole(one)


def test_ignition_that_comes_back_records_again(tmp_path: Path) -> None:
    upload = Upload(server=f"grpc://127.0.0.1:{free_port()}")
    with supplied(tmp_path, upload=upload) as one:
        one.start_all()
        one.ignition.write_text("0\n")
        wait_until(lambda: one.sign("spool").get("session") is None)
        before = one.sign("power")["boot_ns"]
        wait_until(lambda: one.sign("power")["boot_ns"] > before + S)
        assert one.sign("power")["state"] == "uploading"
        assert not one.off_file.exists()
        one.ignition.write_text("1\n")
        wait_until(lambda: one.stored() > 50)
        assert one.sign("power")["state"] == "on"
        assert not one.off_file.exists()
        assert [each.recording for each in one.sessions()] == ["stopped", "running"]


def test_an_upload_that_cannot_end_is_left_when_its_time_is_over(tmp_path: Path) -> None:
    upload = Upload(server=f"grpc://127.0.0.1:{free_port()}")
    with supplied(tmp_path, upload=upload, keep_on_s=1.0) as one:
        one.start_all()
        one.start("upload")
        one.ignition.write_text("0\n")
        wait_until(one.off_file.exists)
        assert "its time is over" in wait_until(one.off_file.read_text)
        assert_ended_whole(one)


def test_everything_is_uploaded_before_power_goes(tmp_path: Path) -> None:
    with GroundStation(tmp_path / "ground") as station:
        upload = Upload(server=station.url, mode="after_close", time_wait_s=0.0)
        with supplied(tmp_path, upload=upload, keep_on_s=3600.0) as one:
            one.start_all()
            one.start("upload")
            one.ignition.write_text("0\n")
            wait_until(one.off_file.exists)
            assert "everything is uploaded" in wait_until(one.off_file.read_text)
            (session,) = one.sessions()
            assert session.id in one.sign("upload")["done"]


def test_where_rules_say_when_to_record_the_supply_leaves_that_to_them(tmp_path: Path) -> None:
    parked = tmp_path / "parked"
    parked.write_text("1\n")
    rule = Rule(do="record", line=f"file:{parked}")
    with supplied(tmp_path, rules=[rule], keep_on_s=3600.0) as one:
        one.start_all()
        one.ignition.write_text("0\n")
        wait_until(lambda: one.sign("power").get("state") == "uploading")
        before = one.stored()
        wait_until(lambda: one.stored() > before + 500)
        assert not one.off_file.exists()
        parked.write_text("0\n")
        wait_until(one.off_file.exists)
        assert one.sessions()[-1].end_reason == "rule"


def test_without_an_answer_from_the_spool_the_box_is_powered_off_all_the_same(
    tmp_path: Path,
) -> None:
    with supplied(tmp_path) as one:
        one.start("power")
        wait_until(lambda: one.sign("power").get("state") == "on")
        one.voltage.write_text("0\n")
        wait_until(one.off_file.exists)


def test_an_ignition_that_cannot_be_read_keeps_the_box_on_and_is_told(tmp_path: Path) -> None:
    with supplied(tmp_path) as one:
        one.start_all()
        one.ignition.unlink()
        wait_until(lambda: "No such file" in one.sign("power").get("error", ""))
        before = one.sign("power")["boot_ns"]
        wait_until(lambda: one.sign("power")["boot_ns"] > before + S)
        assert one.sign("power")["state"] == "on"
        assert not one.off_file.exists()
