"""Level 2's own parts, as far as a virtual machine has what they need."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.rig.__main__ import played
from hil.scenarios.bench import PATIENCE_S, RUN_DIR, SPOOL
from hil.scenarios.devices import drawn
from hil.scenarios.every import ALL
from hil.scenarios.recording import Recording
from hil.vm.machine import Machine
from hil.vm.ready import configure

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.vm.ready import Ready

BENCH = "/opt/bench"
PARTS = ("usb/device.py", "usb/ftdi.py", "usb/uvc.py", "usb/uvc_layout.py")
PLAYER = (
    f"systemd-run -q --unit=player --setenv=PYTHONPATH={BENCH} --working-directory={BENCH}"
    f" /opt/recorder/current/bin/python3 {BENCH}/player.py"
)
#: Not the I2C adapter: to who is as slow as an emulated processor, gadgetfs loses what is written.
ROWS = {"gps": 50, "camera": 50}


class VirtualBox(Machine):
    """Level 1's machine as the rig's runner wants its box."""

    def begin(self, settings: str) -> None:
        configure(self, settings)


@pytest.mark.parametrize("name", ["imu-replug", "power-loss"])
def test_the_rig_s_runner_plays_a_scenario_on_level_1_s_back_end(
    saved: Ready, tmp_path: Path, tell: Callable[[str], None], name: str
) -> None:
    (scenario,) = (one for one in ALL if one.name == name)
    box = VirtualBox(saved.image, scenario.power_on)
    with box:
        box.wake(saved.saved)
        assert played(scenario, box, tmp_path) == []
    said = json.loads((tmp_path / f"{name}.json").read_text())
    assert (said["verdict"], said["level"]) == ("passed", "2")
    tell("; ".join(said["told"]))


@pytest.mark.parametrize("lane", ["gps", "camera"])
def test_what_is_played_on_a_device_port_is_a_real_device_to_the_kernel(
    saved: Ready, tmp_path: Path, tell: Callable[[str], None], lane: str
) -> None:
    sign = f"{RUN_DIR}/status/lane-{lane}.json"
    with Machine(saved.image) as machine:
        machine.wake(saved.saved)
        bring_player(machine)
        machine.run(f"modprobe dummy_hcd && {PLAYER} {lane}")
        count = f"""python3 -c 'import json; print(json.load(open("{sign}"))["samples"])'"""
        machine.until(f"test $({count}) -ge {ROWS[lane]}", PATIENCE_S)
        machine.run("systemctl stop player")
        machine.until(f"grep -q absent {sign}", PATIENCE_S)
        machine.run("systemctl stop recorder.target 'recorder-*.service'")
        (tmp_path / "spool").mkdir()
        machine.take(SPOOL, tmp_path / "spool")
    recording = Recording(tmp_path / "spool")
    assert recording.problems() == []
    rows = recording.rows(lane)
    assert len(rows) >= ROWS[lane]
    if lane == "camera":
        assert {row.picture for row in rows} == {drawn(320, 240, 0)}
    tell(f"{len(rows)} rows, {recording.losses(lane)}")


def bring_player(machine: Machine) -> None:
    """Put into the machine what plays a sensor there."""
    hil = Path(__file__).parents[1]
    for part in PARTS:
        machine.put((hil / part).read_text(), f"{BENCH}/hil/{part}")
    machine.put((hil / "rig/gadget.py").read_text(), f"{BENCH}/hil/rig/gadget.py")
    machine.put((hil / "scenarios/player.py").read_text(), f"{BENCH}/player.py")
    picture = base64.b64encode(drawn(320, 240, 0)).decode()
    machine.put(picture, f"{BENCH}/picture.b64")
    machine.run(f"base64 -d {BENCH}/picture.b64 > {BENCH}/picture.jpg")
