"""The rig's runner: its file, its supply, and what it plays; commands stand in for the box."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.rig import gadget
from hil.rig.__main__ import main, why_not
from hil.rig.box import Rig, RigBox, read
from hil.scenarios.every import ALL
from hil.usb.ftdi import Ftdi
from hil.usb.i2c_tiny import I2cTinyUsb
from hil.usb.uvc import Uvc

if TYPE_CHECKING:
    from hil.usb.device import UsbDevice

EXAMPLE = Path(gadget.__file__).with_name("rig.toml")
#: A computer that is a folder: with the file ``power`` it answers, and each boot has a name.
COMPUTER = """#!/bin/sh
cd {folder} && test -e power || exit 255
exec sh -c "$(printf '%s' "$1" | sed 's,/proc/sys/kernel/random/boot_id,boot_id,;s,/etc/,etc/,g')"
"""


@pytest.fixture
def computer(tmp_path: Path) -> Rig:
    """A rig of commands: its computer has power, and its relay works."""
    script = tmp_path / "computer"
    script.write_text(COMPUTER.format(folder=tmp_path))
    script.chmod(0o755)
    (tmp_path / "power").touch()
    (tmp_path / "boot_id").write_text("first\n")
    on = f"cd {tmp_path}; echo again$$ > boot_id; touch power"
    return Rig([str(script)], f"rm {tmp_path}/power", on, off_s=0.1, boot_s=3)


def test_the_example_is_a_rig() -> None:
    rig = read(EXAMPLE)
    assert rig.reach[0] == "ssh"
    assert rig.boot_s > rig.off_s


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('reach = ["ssh"]\noff = "a"\n', "missing ['on']"),
        ('reach = ["ssh"]\noff = "a"\non = "b"\nvolts = 5\n', "unknown ['volts']"),
    ],
)
def test_what_is_wrong_with_a_rig_s_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rig.toml").write_text(text)
    with pytest.raises(ValueError, match=r"rig\.toml") as error:
        read(tmp_path / "rig.toml")
    assert said in str(error.value)


def test_the_example_s_relay_gets_the_bytes_that_it_knows(tmp_path: Path) -> None:
    rig = read(EXAMPLE)
    for command, told in ((rig.off, b"\xa0\x01\x00\xa1"), (rig.on, b"\xa0\x01\x01\xa2")):
        relay, other = os.openpty()
        with closing(os.fdopen(relay, "rb", buffering=0)) as heard, os.fdopen(other):
            name = os.ttyname(other)
            assert os.system(command.replace("/dev/ttyUSB0", name)) == 0
            assert heard.read(4) == told


def test_a_box_whose_supply_was_cut_is_back_when_it_answers_with_another_boot(
    computer: Rig, tmp_path: Path
) -> None:
    with RigBox(computer, tmp_path) as box:
        assert box.run("cat boot_id") == "first"
        assert box.lose_power() < computer.boot_s
        assert box.run("cat boot_id") != "first"


def test_a_relay_that_switches_nothing_is_found_out(computer: Rig, tmp_path: Path) -> None:
    stuck = Rig(computer.reach, "true", "true", off_s=0.1, boot_s=1)
    with (
        RigBox(stuck, tmp_path) as box,
        pytest.raises(AssertionError, match="has not lost its power"),
    ):
        box.lose_power()


def test_a_box_that_does_not_come_back_is_told_with_what_its_console_said(
    computer: Rig, tmp_path: Path
) -> None:
    said = "echo no bootable medium; sleep 60"
    dead = Rig(computer.reach, computer.off, "true", off_s=0.5, boot_s=1, console=said)
    with RigBox(dead, tmp_path) as box, pytest.raises(AssertionError, match="no bootable medium"):
        box.lose_power()


def test_a_box_that_is_no_bench_s_is_not_emptied(computer: Rig, tmp_path: Path) -> None:
    kept = tmp_path / "etc/recorder/recorder.toml"
    kept.parent.mkdir(parents=True)
    kept.write_text('[vehicle]\nname = "veh-042"\n')
    with RigBox(computer, tmp_path) as box, pytest.raises(ValueError, match="only a box of that"):
        box.begin("")
    assert kept.read_text() == '[vehicle]\nname = "veh-042"\n'


def test_what_one_port_cannot_play_is_told() -> None:
    reasons = {one.name: why_not(one) for one in ALL}
    assert reasons["imu-replug"] == reasons["gps-replug"] == reasons["power-loss"] == ""
    assert "3 sensors at once" in reasons["box-all"]


def test_a_name_that_is_no_scenario_s_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--rig", str(EXAMPLE), "imu-plugg"])
    assert error.value.code == 2
    assert "imu-plugg" in capsys.readouterr().err


def test_a_rig_s_file_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--rig", str(tmp_path / "none.toml"), "imu-plug"]) == 2
    assert "none.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "device", [Ftdi(9600), I2cTinyUsb({}), Uvc(lambda *_: b"")], ids=["gps", "imu", "camera"]
)
def test_what_gadgetfs_is_told_of_a_device_is_what_it_accepts(device: UsbDevice) -> None:
    """Its own checks: a tag, one or two configurations that cannot wake the host, the device."""
    told = gadget.descriptors(device)
    assert told[:4] == bytes(4)
    at, speeds = 4, 0
    while told[at + 1] == 2:
        total = int.from_bytes(told[at + 2 : at + 4], "little")
        assert told[at] == 9
        assert told[at + 5] == 1
        assert told[at + 7] & 0xA0 == 0x80
        at, speeds = at + total, speeds + 1
    assert speeds == 1 + (device.speed == 2)
    assert len(told) - at == told[at] == 18
    assert told[at + 1] == 1


def test_a_machine_without_a_device_port_says_so(tmp_path: Path) -> None:
    (tmp_path / "ep0").touch()
    with pytest.raises(OSError, match="no USB device port"):
        gadget.controller(tmp_path)
    assert threading.active_count() >= 1
