"""A recording box: what its units do when something dies, and what they may not do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hil.units.box import CONFIG, LANES

if TYPE_CHECKING:
    from hil.units.box import Box

UNITS = ("recorder-lane@imu", "recorder-spool", "recorder-upload", "recorder-web")
MOST_EXPOSED = 2.0
#: What no restart of a process excuses.
UNEXCUSED = {"lost_ring", "lost_damaged", "lost_write", "lost_evicted", "lost_crc", "lost_rejected"}
REFUSED = {"EACCES", "EPERM", "EROFS", "ENOENT", "EAFNOSUPPORT", "ENETUNREACH", "ENXIO"}
#: What each may do of what the probe tries; everything else must be refused.
ALLOWED = {
    "recorder-lane@imu": set[str](),
    "recorder-spool": {"write spool", "read spool", "another's ring"},
    "recorder-upload": {"network", "read spool", "write upload"},
    "recorder-web": {"network", "read spool"},
}


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


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_exposes_no_more_than_it_must(box: Box, unit: str) -> None:
    said = box.run(f"systemd-analyze security --no-pager {unit}.service | tail -1")
    level = float(re.findall(r": ([0-9.]+) ", said)[0])
    assert level <= MOST_EXPOSED, said


@pytest.mark.parametrize("unit", UNITS)
def test_a_process_is_refused_what_is_not_its_business(box: Box, unit: str) -> None:
    probe = Path(__file__).with_name("probe.py")
    box.put(probe.read_text(), "/opt/probe.py")
    box.run(
        "cd /dev; test -e probe-disk || mknod -m 660 probe-disk b 7 99 && chgrp disk probe-disk;"
        " test -e probe-tty || mknod -m 660 probe-tty c 4 64 && chgrp tty probe-tty;"
        " mkdir -p -m 755 /run/user/0; echo s > /run/user/0/secret;"
        " install -d -m 700 /etc/credstore;"
        " echo k > /etc/credstore/recorder.key; chmod 600 /etc/credstore/recorder.key"
    )
    name, _, instance = unit.partition("@")
    text = box.run(f"cat /usr/lib/systemd/system/{name}{'@' if instance else ''}.service")
    drop = r"^(Type|NotifyAccess|WatchdogSec|Restart|ExecStart|TimeoutStartSec)=.*\n"
    text = re.sub(drop, "", text, flags=re.MULTILINE).replace(
        "[Service]\n",
        "[Service]\nType=oneshot\nStandardOutput=file:/run/probe.out\n"
        "ExecStart=/opt/recorder/current/bin/python3 /opt/probe.py\n",
    )
    probing = f"probe@{instance}" if instance else "probe"
    box.put(text, f"/run/systemd/system/{'probe@' if instance else 'probe'}.service")
    box.run(f"systemctl daemon-reload; rm -f /run/probe.out; systemctl start {probing}")
    did = json.loads(box.run("cat /run/probe.out"))
    assert {deed for deed, how in did.items() if how == "done"} == ALLOWED[unit], did
    assert {how for deed, how in did.items() if deed not in ALLOWED[unit]} <= REFUSED, did


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


def test_an_upgrade_exchanges_one_process_after_the_other_and_counts_what_it_misses(
    box: Box, debs: list[Path]
) -> None:
    before = sessions(box)[-1]["id"]
    box.install(debs[1])
    assert box.run("dpkg-query -f '${Version}' -W edge-recorder") == "0.1.1"
    assert len(box.run("ls /opt/recorder/versions").split()) == 1
    for lane in ("gps", "imu", "camera"):
        box.until(f"systemctl show -P StatusText recorder-lane@{lane} | grep ^running")
    # The spool's own restart ends the session; the next one takes the rings from there.
    box.until(
        f'recorder show {before} --json --config {CONFIG} | grep \'"end_reason": "shutdown"\''
    )
    assert sessions(box)[-1]["id"] != before
    for session in (shown(box, before), shown(box)):
        lost = {
            lane["name"]: {k: n for k, n in lane.items() if k in UNEXCUSED and n}
            for lane in session["lanes"]
        }
        assert not any(lost.values()), lost
        assert session["ledger_ok"]


def test_what_was_recorded_is_whole_and_what_is_missing_is_counted(box: Box) -> None:
    box.run("systemctl stop recorder.target")
    box.run("recorder verify /var/lib/recorder")
    session = shown(box)
    for lane in session["lanes"]:
        lost = {key: lane[key] for key in lane if key.startswith("lost_") and lane[key]}
        assert lane["stored"] > 0
        assert set(lost) <= {"lost_absent", "lost_source", "lost_broken"}, lost
    box.run("systemctl start recorder.target")


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
