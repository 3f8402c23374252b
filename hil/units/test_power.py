"""A box that powers itself off: the whole chain, from a voltage to a container that is gone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from hil.root import root
from hil.units.box import LANES, NAMES, Box
from recorder.spool.spool import Spool
from recorder.spool.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POWER = """
[upload]
mode = "off"
[power]
ignition = "file:/run/ignition"
voltage = "file:/run/in*_input"
low_volts = 11.0
"""
#: Fails until there are rows of each lane on the disk.
HAS_ROWS = (
    'import json; said = json.load(open("/run/recorder/status/spool.json"));'
    ' assert all(one["stored"] for one in said["session"]["lanes"])'
)
#: Longer than systemd lets a unit take that does not end by itself, such as the models' here.
OFF_S = 150.0


@pytest.fixture(params=["ignition", "in0_input"])
def switched(request: pytest.FixtureRequest, debs: list[Path]) -> Iterator[tuple[Box, str]]:
    """A box that records and watches its supply; and which of the two inputs is to go."""
    with Box(root()) as box:
        box.boot()
        box.install(debs[0])
        box.add_models()
        box.start_models()
        box.put("1\n", "/run/ignition")
        box.put("12400\n", "/run/in0_input")
        box.configure(LANES + POWER)
        for lane in NAMES:
            box.until(f"systemctl show -P StatusText recorder-lane@{lane} | grep ^running")
        box.until("systemctl show -P StatusText recorder-power | grep ^on")
        box.until(f"python3 -c '{HAS_ROWS}'")
        yield box, str(request.param)


def test_what_was_recorded_is_whole_when_the_box_has_powered_itself_off(
    switched: tuple[Box, str], tmp_path: Path
) -> None:
    box, supply = switched
    assert box.run("systemctl is-active recorder-power-off.path") == "active"
    others = ("recorder-spool", "recorder-upload", "recorder-web")
    refused = [
        box.try_(f"runuser -u {user} -g recorder -- touch /run/recorder/power/off").code
        for user in others
    ]
    assert all(refused)
    box.put("0\n", f"/run/{supply}")
    assert box.has_gone(OFF_S)
    kept = tmp_path / "data"
    shutil.copytree(box.root / "var/lib/recorder", kept)
    spool = Spool(kept / "spool")
    session = spool.session(spool.session_ids()[-1])
    assert (session.recording, session.end_reason) == ("stopped", "shutdown")
    assert set(NAMES) == {one.name for one in session.lanes if one.stored}
    assert not any(one.imbalances() for one in session.lanes)
    assert verify(kept / "spool").is_sound
