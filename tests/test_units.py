from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UNITS = ROOT / "systemd"
RULES = ROOT / "udev" / "99-recorder.rules"
#: What does one thing and ends; every other service is a process of the recorder.
ERRANDS = [UNITS / f"recorder-{one}.service" for one in ("fsck", "key", "power-off", "settings")]
SERVICES = [one for one in sorted(UNITS.glob("*.service")) if one not in ERRANDS]
OTHERS = [
    one for kind in ("target", "mount", "path", "slice") for one in sorted(UNITS.glob(f"*.{kind}"))
]
FILES = [*SERVICES, *ERRANDS, *OTHERS]
#: What would wait for each other in a circle, if the check of the partition waited for folders.
TOGETHER = ("var-lib-recorder.mount", "systemd-tmpfiles-setup.service")
PROGRAM = "/opt/recorder/bin/recorder"

#: One match or assignment of a udev rule.
TOKEN = re.compile(r'[A-Z_]+(\{[A-Za-z0-9_/]+\})?(==|!=|\+=|:=|=)"[^"]*"')
#: The keys that the rules use, by what udev calls them; a misspelt one would be ignored on boot.
KEYS = {
    *("ACTION", "ATTR", "ATTRS", "DRIVERS", "ENV", "GOTO", "GROUP", "KERNEL", "LABEL", "MODE"),
    *("OPTIONS", "SUBSYSTEM", "SUBSYSTEMS", "SYMLINK", "TAG"),
}

Unit = dict[str, dict[str, list[str]]]


def read(path: Path) -> Unit:
    """Read a unit: by section and key every value; an empty value clears what was said before."""
    unit: Unit = {}
    section: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = unit.setdefault(line.strip("[]"), {})
        elif line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return unit


def written(path: Path) -> set[str]:
    """Return the folders that a unit may write to."""
    return {one for line in read(path)["Service"]["ReadWritePaths"] for one in line.split()}


def tool(name: str, *probe: str) -> str:
    """Return the path of a system tool, or skip the test with the reason."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"this machine has no {name}")
    if probe and subprocess.run([path, *probe], capture_output=True, check=False).returncode:
        pytest.skip(f"{name} of this machine does not know {' '.join(probe)}")
    return path


def run(*command: str | Path) -> str:
    """Run a tool, and return what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def on_this_machine(folder: Path) -> list[Path]:
    """Copy the units so that program and users exist here."""
    program = folder / "recorder"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copies = []
    for path in FILES:
        text = path.read_text().replace(PROGRAM, str(program))
        copy = folder / path.name.replace("@.", "@gps.")
        copy.write_text(text)
        copies.append(copy)
    return copies


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    verify = tool("systemd-analyze")
    said = run(verify, "verify", "--man=no", *on_this_machine(tmp_path))
    assert [line for line in said.splitlines() if "recorder" in line] == []


def test_systemd_makes_the_users_and_every_unit_runs_as_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run(tool("systemd-sysusers"), f"--root={tmp_path}", UNITS / "sysusers.d" / "recorder.conf")
    users = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0] for line in (tmp_path / "etc/group").read_text().splitlines()}
    services = {path.name: read(path)["Service"] for path in SERVICES}
    lane = services.pop("recorder-lane@.service")
    assert (lane["DynamicUser"], lane["User"]) == (["yes"], ["rec-%i"])
    assert "recorder" in lane["SupplementaryGroups"][0].split()
    keeper = read(UNITS / "recorder-settings.service")["Service"]["User"]
    runs_as = [*keeper, *(one["User"][0] for one in services.values())]
    assert len(set(runs_as)) == len(runs_as)
    assert set(runs_as) <= users
    assert {one["Group"][0] for one in services.values()} == {"recorder"}
    assert {"recorder", "recorder-rings", "i2c"} <= groups


def test_systemd_makes_every_directory_that_a_unit_writes(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run(tool("systemd-sysusers"), f"--root={tmp_path}", UNITS / "sysusers.d" / "recorder.conf")
    run(
        tool("systemd-tmpfiles"),
        f"--root={tmp_path}",
        "--create",
        UNITS / "tmpfiles.d" / "recorder.conf",
    )
    writes = {one for path in SERVICES for one in written(path)}
    assert writes
    assert [one for one in writes if not (tmp_path / one.lstrip("/")).is_dir()] == []
    assert (tmp_path / "run/recorder").stat().st_mode & 0o7777 == 0o1770
    # Who may write here may power the box off.
    off = tmp_path / "run/recorder/power"
    assert off.stat().st_mode & 0o7777 == 0o755
    lines = (tmp_path / "etc/passwd").read_text().splitlines()
    users = dict(line.split(":")[::2][:2] for line in lines)
    assert str(off.stat().st_uid) == users["recorder-power"]


def test_udev_finds_nothing_wrong_with_the_rules() -> None:
    # Names of groups are resolved on the vehicle; this machine may lack one.
    run(tool("udevadm", "verify", "--help"), "verify", "--resolve-names=never", RULES)


def test_every_line_of_the_rules_is_made_of_keys_that_udev_knows() -> None:
    for line in RULES.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        for token in line.split(", "):
            assert TOKEN.fullmatch(token), f"{token} in {line}"
            assert re.split(r"[{=!+:]", token)[0] in KEYS, token


def test_the_rules_name_every_kind_of_device_and_keep_modemmanager_off_each_receiver() -> None:
    text = RULES.read_text()
    assert set(re.findall(r'ENV\{RECORDER\}="(\w+)"', text)) == {"gps", "imu", "camera"}
    vendor = re.compile(r'^SUBSYSTEM=="tty", ATTRS\{idVendor\}=="(\w+)"', re.MULTILINE)
    ignored = re.compile(r'ATTR\{idVendor\}=="(\w+)".*ENV\{ID_MM_DEVICE_IGNORE\}="1"')
    assert vendor.findall(text)
    assert set(vendor.findall(text)) == set(ignored.findall(text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_unit_waits_for_neither_network_nor_time(path: Path) -> None:
    unit = read(path)["Unit"]
    waits = [
        value
        for key in ("After", "Requires", "Wants", "BindsTo", "Requisite")
        for value in unit.get(key, [])
    ]
    assert [one for one in waits if re.search(r"network|time|nss-lookup|online", one)] == []


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_service_is_watched_and_started_again_for_ever(path: Path) -> None:
    unit = read(path)
    service = unit["Service"]
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert service["Type"] == ["notify"]
    assert service["NotifyAccess"] == ["main"]
    assert service["Restart"] == ["always"]
    assert service["RestartSec"] == ["10" if "upload" in path.name else "1"]
    assert int(service["WatchdogSec"][0]) > 0
    assert service["ExecStart"][0].startswith(PROGRAM + " ")
    assert service["ExecStart"][0].endswith("--config /etc/recorder/recorder.toml")


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_service_has_no_privilege_that_it_does_not_need(path: Path) -> None:
    service = read(path)["Service"]
    assert service["NoNewPrivileges"] == ["yes"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["ProtectSystem"] == ["strict"]
    assert service["SystemCallFilter"][:2] == ["@system-service", "~@privileged @resources"]
    assert set(service["SystemCallFilter"][2:]) <= {"adjtimex clock_adjtime clock_adjtime64"}
    has_devices = path.name in ("recorder-lane@.service", "recorder-power.service")
    assert (service.get("PrivateDevices") == ["yes"]) != has_devices
    assert (service.get("DevicePolicy") == ["closed"]) == has_devices


def test_who_records_is_killed_last_and_scheduled_first_and_keeps_its_pages() -> None:
    services = {path.name: read(path)["Service"] for path in SERVICES}
    others = {"recorder-upload.service", "recorder-web.service"}
    dearest = sorted(services, key=lambda name: int(services[name]["OOMScoreAdjust"][0]))
    assert dearest[-2:] == ["recorder-upload.service", "recorder-web.service"]
    within = {name for name, one in services.items() if one.get("Slice") == ["recorder.slice"]}
    assert within == set(services) - others
    assert {name for name, one in services.items() if "MemoryMin" in one} == within
    # A share that the slice does not have is none.
    most = int(read(UNITS / "recorder.slice")["Slice"]["MemoryMin"][0].removesuffix("M"))
    shares = {name: int(services[name]["MemoryMin"][0].removesuffix("M")) for name in within}
    assert sum(shares.values()) + 2 * shares["recorder-lane@.service"] <= most
    weight = int(read(UNITS / "recorder.slice")["Slice"]["CPUWeight"][0])
    assert all(int(services[name]["CPUWeight"][0]) < 100 < weight for name in others)


def test_lanes_and_spool_have_no_network_and_only_the_spool_writes_the_spool() -> None:
    services = {path.name: read(path)["Service"] for path in SERVICES}
    offline = {name for name, one in services.items() if one.get("PrivateNetwork") == ["yes"]}
    online = {"recorder-upload.service", "recorder-web.service"}
    assert offline == set(services) - online
    writes = {
        name
        for name, one in services.items()
        if {"/var/lib/recorder", "/var/lib/recorder/spool"} & written(UNITS / name)
    }
    assert writes == {"recorder-spool.service"}


def test_a_lane_waits_for_the_rings_alone() -> None:
    unit = read(UNITS / "recorder-lane@.service")["Unit"]
    assert unit["RequiresMountsFor"] == ["/run/recorder/rings"]
    assert not {"After", "Requires", "Wants", "BindsTo", "Requisite"} & set(unit)


def test_the_rings_outlive_every_unit() -> None:
    mount = read(UNITS / "run-recorder-rings.mount")
    assert mount["Mount"]["Where"] == ["/run/recorder/rings"]
    assert not {"PartOf", "BindsTo", "StopWhenUnneeded"} & set(mount["Unit"])
    assert not any("RuntimeDirectory" in read(path)["Service"] for path in SERVICES)


def test_a_stalling_card_has_a_minute_before_the_spool_is_killed() -> None:
    assert read(UNITS / "recorder-spool.service")["Service"]["WatchdogSec"] == ["60"]


def test_only_the_supplys_process_can_power_off_and_needs_no_privilege_for_it() -> None:
    path = read(UNITS / "recorder-power-off.path")
    (file,) = path["Path"]["PathExists"]
    assert "PartOf" not in path["Unit"]
    assert written(UNITS / "recorder-power.service") == {
        "/run/recorder/status",
        str(Path(file).parent),
    }
    errand = read(UNITS / "recorder-power-off.service")
    assert errand["Unit"]["SuccessAction"] == ["poweroff"]
    assert errand["Service"]["DynamicUser"] == ["yes"]
    assert errand["Service"]["CapabilityBoundingSet"] == [""]
    assert "ReadWritePaths" not in errand["Service"]


def test_where_there_is_a_tpm_and_a_key_one_unit_may_use_it_and_write_no_more_than_the_key() -> (
    None
):
    errand = read(UNITS / "recorder-key.service")
    assert written(UNITS / "recorder-key.service") == {
        "/var/lib/recorder/keys",
        "/run/recorder/keys",
    }
    service = errand["Service"]
    assert service["DeviceAllow"] == ["/dev/tpmrm0 rw"]
    assert service["CapabilityBoundingSet"] == ["CAP_CHOWN CAP_DAC_OVERRIDE"]
    assert all(one.startswith("|") for one in errand["Unit"]["ConditionPathExistsGlob"])
    assert "Install" not in errand
    (rule,) = (line for line in RULES.read_text().splitlines() if '"tpmrm0"' in line)
    assert '"recorder-key.service recorder-key.path"' in rule
    assert "recorder-key.service" in read(UNITS / "recorder-upload.service")["Unit"]["After"]
    (watched,) = read(UNITS / "recorder-key.path")["Path"]["PathChanged"]
    assert watched in written(UNITS / "recorder-key.service")


def test_the_check_of_the_spools_partition_has_a_limit_and_the_mount_does_not_need_it() -> None:
    errand = read(UNITS / "recorder-fsck.service")
    assert errand["Service"]["ExecStart"] == ["-/usr/sbin/fsck -p -T /dev/disk/by-label/recorder"]
    assert int(errand["Service"]["TimeoutStartSec"][0]) <= 60
    # It would wait for the folders of /tmp, which wait for the mount, which waits for it.
    assert "PrivateTmp" not in errand["Service"]
    mount = read(UNITS / "var-lib-recorder.mount.d" / "recorder.conf")["Unit"]
    assert mount["Wants"] == mount["After"] == ["recorder-fsck.service"]
    assert mount["Before"] == ["systemd-tmpfiles-setup.service"]
    assert "Requires" not in mount


def test_what_is_kept_for_every_process_is_written_by_one_unit_behind_who_records() -> None:
    writers = [
        path.name
        for path in (*SERVICES, *ERRANDS)
        if "/opt" in " ".join(read(path)["Service"].get("ReadWritePaths", []))
    ]
    assert writers == ["recorder-settings.service"]
    errand = read(UNITS / writers[0])
    assert written(UNITS / writers[0]) == {"/opt/recorder/current/settings"}
    assert errand["Unit"]["After"] == ["recorder-spool.service"]
    assert errand["Service"]["Type"] == ["simple"]
    assert errand["Service"]["CapabilityBoundingSet"] == [""]
    assert int(errand["Service"]["CPUWeight"][0]) < 100


def test_systemd_takes_a_partition_with_its_check_and_finds_no_circle(tmp_path: Path) -> None:
    verify = tool("systemd-analyze")
    on_this_machine(tmp_path)
    shutil.copytree(UNITS / "var-lib-recorder.mount.d", tmp_path / "var-lib-recorder.mount.d")
    mount = "[Mount]\nWhat=/dev/disk/by-label/recorder\nWhere=/var/lib/recorder\nOptions=nofail\n"
    (tmp_path / "var-lib-recorder.mount").write_text(mount)
    paths = f"SYSTEMD_UNIT_PATH={tmp_path}:/usr/lib/systemd/system"
    said = run("/usr/bin/env", paths, verify, "verify", "--man=no", *TOGETHER)
    wrong = [line for line in said.splitlines() if re.search("recorder|cycle", line)]
    assert wrong == []
