"""One box through its life: the tests of this file stand on each other, in their order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hil.units.box import CONFIG

if TYPE_CHECKING:
    from pathlib import Path

    from hil.units.box import Box

UNITS = ("recorder-spool", "recorder-web", "recorder-lane@gps", "recorder-lane@imu")


def test_the_package_installs_without_a_network_and_everything_runs(
    bare: Box, debs: list[Path]
) -> None:
    assert bare.try_("ip route get 192.0.2.1").code != 0
    bare.install(debs[0])
    for unit in UNITS:
        bare.until(f"systemctl is-active {unit}")
    assert bare.run("systemctl is-enabled recorder.target") == "enabled"
    assert bare.run("systemctl --failed --no-legend") == ""


def test_a_box_without_sensors_says_so_and_restarts_nothing(bare: Box) -> None:
    bare.until("systemctl show -P StatusText recorder-lane@gps | grep absent")
    bare.until("systemctl show -P StatusText recorder-lane@imu | grep absent")
    assert {bare.show(unit, "NRestarts") for unit in UNITS} == {"0"}


def test_the_manual_the_completion_and_the_command_are_there(bare: Box) -> None:
    assert bare.run("recorder --version") == "recorder, version 0.1.0"
    pages = bare.run("ls /usr/share/man/man1 | grep recorder")
    assert {"recorder.1.gz", "recorder-check.1.gz"} <= set(pages.split())
    assert "recorder" in bare.run("cat /usr/share/bash-completion/completions/recorder")


def test_an_edited_configuration_survives_every_installation(bare: Box, debs: list[Path]) -> None:
    bare.run(f"echo '# mine' >> {CONFIG}")
    bare.install(debs[0])
    assert bare.run(f"tail -1 {CONFIG}") == "# mine"
    assert len(bare.run("ls /opt/recorder/versions").split()) == 1
    bare.until("systemctl is-active recorder-spool")


def test_a_lane_that_is_added_to_the_configuration_needs_no_enabling(bare: Box) -> None:
    lane = '[[lanes]]\nname = "rear"\ndriver = "nmea_gps"\ndevice = "/dev/ttyUSB7"\n'
    bare.put(bare.run(f"cat {CONFIG}") + "\n" + lane, CONFIG)
    bare.run("systemctl daemon-reload && systemctl restart recorder.target")
    bare.until("systemctl is-active recorder-lane@rear")


def test_a_broken_configuration_is_told_and_nothing_else_breaks(bare: Box) -> None:
    bare.run(f"cp {CONFIG} /srv/kept.toml && echo 'lanes = 1' >> {CONFIG}")
    bare.run("systemctl daemon-reload")
    bare.run("systemctl restart --no-block recorder-spool")
    bare.until("journalctl -u recorder-spool --no-pager | grep -i 'recorder.toml'")
    bare.run(f"cp /srv/kept.toml {CONFIG}")
    bare.run("systemctl daemon-reload && systemctl restart recorder-spool")
    bare.until("systemctl is-active recorder-spool")


def test_removing_stops_everything_and_leaves_recordings_and_settings(bare: Box) -> None:
    recorded = bare.run("find /var/lib/recorder -name journal")
    assert recorded
    bare.run("dpkg -r edge-recorder")
    assert bare.run("systemctl list-units 'recorder*' --no-legend") == ""
    assert bare.run("ls /opt") == ""
    assert bare.run("find /var/lib/recorder -name journal") == recorded
    assert bare.run(f"grep -c mine {CONFIG}") == "1"


def test_what_was_recorded_before_is_read_by_the_next_installation(
    bare: Box, debs: list[Path]
) -> None:
    bare.install(debs[1])
    bare.until("systemctl is-active recorder-spool")
    sessions = json.loads(bare.run(f"recorder sessions --json --config {CONFIG}"))
    assert len(sessions) >= 2


def test_purging_removes_the_settings_and_still_no_recording(bare: Box) -> None:
    said = bare.run("dpkg -P edge-recorder")
    assert "the recordings in /var/lib/recorder stay" in said
    assert bare.try_("test -e /etc/recorder").code == 1
    assert bare.run("find /var/lib/recorder -name journal")
    assert bare.run("systemctl --failed --no-legend") == ""
