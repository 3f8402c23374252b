"""A recording box: what its units do when something dies, and what they may not do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hil.units.box import CONFIG, LANES, NAMES
from recorder.cli.processes import NO_LANE_EXIT_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.units.box import Box

OFF = '[upload]\nmode = "off"\n'
#: Half seconds until every lane has something on the disk.
PATIENCE = 60
#: What says how a spool came to be as it is: the log, and the last lines of every journal.
EVIDENCE = (
    "journalctl --no-pager -o short-precise -u 'recorder-*' -n 300;"
    " ls -lR /var/lib/recorder/spool/sessions;"
    " for one in /var/lib/recorder/spool/sessions/*/journal; do tail -n 40 $one | cut -c1-600; done"
)


def sessions(box: Box) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(box.run(f"recorder sessions --json --config {CONFIG}"))
    return found


def shown(box: Box, session_id: str = "") -> dict[str, Any]:
    one = session_id or sessions(box)[-1]["id"]
    found: dict[str, Any] = json.loads(box.run(f"recorder show {one} --json --config {CONFIG}"))
    return found


def test_every_lane_records(box: Box) -> None:
    for lane in ("gps", "imu", "camera"):
        box.until(f"find /var/lib/recorder/spool/sessions -path '*/{lane}/*.seg' | grep .")


@pytest.mark.parametrize("unit", ["recorder-lane@imu", "recorder-spool"])
def test_a_process_that_is_killed_comes_back_and_the_session_goes_on(box: Box, unit: str) -> None:
    before, restarts = sessions(box), int(box.show(unit, "NRestarts"))
    box.run(f"systemctl kill -s KILL {unit}")
    box.until(f"test $(systemctl show -P NRestarts {unit}) -gt {restarts}")
    box.until(f"systemctl is-active {unit}")
    assert [one["id"] for one in sessions(box)] == [one["id"] for one in before]


def test_a_process_that_hangs_is_killed_by_the_watchdog(box: Box) -> None:
    restarts = int(box.show("recorder-lane@gps", "NRestarts"))
    box.run("systemctl kill -s STOP recorder-lane@gps")
    box.until(f"test $(systemctl show -P NRestarts recorder-lane@gps) -gt {restarts}")
    box.until("journalctl -u recorder-lane@gps --no-pager | grep -i 'watchdog timeout'")
    box.until("systemctl show -P StatusText recorder-lane@gps | grep ^running")


def test_a_lane_that_is_taken_out_of_the_configuration_ends_and_comes_with_it_again(
    box: Box,
) -> None:
    begin = LANES.index('[[lanes]]\nname = "imu"')
    end = LANES.index("[[lanes]]", begin + 1)
    box.configure(LANES[:begin] + LANES[end:] + OFF)
    box.until("systemctl is-failed recorder-lane@imu")
    assert box.show("recorder-lane@imu", "ExecMainStatus") == str(NO_LANE_EXIT_CODE)
    box.until("systemctl show -P StatusText recorder-lane@gps | grep ^running")
    box.configure(LANES + OFF)
    box.until("systemctl show -P StatusText recorder-lane@imu | grep ^running")


def test_what_was_recorded_is_whole_and_what_is_missing_is_counted(box: Box) -> None:
    for _ in range(PATIENCE):
        if all(lane["stored"] for lane in shown(box)["lanes"]):
            break
        box.run("sleep 0.5")
    box.run("systemctl stop recorder.target")
    code, said = box.try_("recorder verify /var/lib/recorder")
    assert code == 0, said + box.run(EVIDENCE)
    session = shown(box)
    for lane in session["lanes"]:
        lost = {key: lane[key] for key in lane if key.startswith("lost_") and lane[key]}
        assert lane["stored"] > 0
        assert set(lost) <= {"lost_absent", "lost_source", "lost_broken"}, lost
    box.run("systemctl start recorder.target")


def test_what_a_start_takes_is_told(box: Box, tell: Callable[[str], None]) -> None:
    box.run("systemctl start recorder-settings")
    box.until("systemctl show -P ActiveState recorder-settings | grep inactive")
    box.run("systemctl stop recorder.target 'recorder-*.service'")
    said = "journalctl --no-pager -o json -u recorder-spool | grep 'first samples are durable'"
    before = int(box.run(f"{said} | wc -l"))
    box.run("systemctl start recorder.target")
    box.until(f"[ $({said} | wc -l) -gt {before} ]")
    last = json.loads(box.run(said).splitlines()[-1])
    assert sessions(box)[-1]["id"] in last["MESSAGE"]
    durable_us = int(last["__MONOTONIC_TIMESTAMP"])
    units = ["recorder-spool", *(f"recorder-lane@{name}" for name in NAMES)]
    begun_us = min(int(box.show(unit, "ExecMainStartTimestampMonotonic")) for unit in units)
    assert begun_us < durable_us
    for unit in units:  # one Python, by the settings that are kept: what was started is what runs
        said = box.run(f"cat /proc/{box.show(unit, 'MainPID')}/cmdline | tr '\\0' ' '")
        assert "/opt/recorder/bin/recorder " in said
    used = [int(box.show(unit, "CPUUsageNSec")) / 1e9 for unit in units]
    tell(
        f"units' start to the first durable samples {(durable_us - begun_us) / 1e6:.2f} s,"
        f" with {min(used):.2f} to {max(used):.2f} s of a processor for each process"
    )


def test_a_key_reaches_the_upload_as_a_credential_and_the_recording_the_server(box: Box) -> None:
    box.run(
        "mkdir -p /srv/ground && recorder ground --dir /srv/ground --new-key read,write --for box"
        " --json > /run/key.json"
    )
    key = json.loads(box.run("cat /run/key.json"))["key"]
    box.run("install -d -m 700 /etc/credstore")
    box.put(f"{key}\n", "/etc/credstore/recorder.key")
    box.run("chmod 600 /etc/credstore/recorder.key")
    box.run("systemd-run -q --unit=ground recorder ground --dir /srv/ground --check-keys")
    box.until("journalctl -u ground --no-pager | grep grpc://")
    box.configure(
        LANES + '[upload]\nmode = "after_close"\nserver = "grpc://127.0.0.1:6726"\n'
        'key_file = "/run/credentials/recorder-upload.service/recorder.key"\n'
    )
    box.until("systemctl is-active recorder-upload")
    box.until("find /var/lib/recorder/spool/sessions -path '*/imu/*.seg' | grep .")
    session = sessions(box)[-1]["id"]
    box.run("systemctl restart recorder-spool")
    box.until(
        "recorder sessions --json --server grpc://127.0.0.1:6726 --key-file"
        f' /etc/credstore/recorder.key | grep -A99 {session} | grep \'"state": "closed"\''
    )
