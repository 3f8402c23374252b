"""What a checkup finds on a prepared machine that has one thing wrong with it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.box.checkup import check_box
from recorder.box.finding import Finding
from recorder.box.machine import Machine
from recorder.box.ports import of_ports
from recorder.box.wiring import Wire
from tests.recorder.box.machines import LANES, Box

RATE_BYTES_PER_S = 20_000.0


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = Box(tmp_path)
    made.install()
    return made


def findings(box: Box, more: str = '[spool]\nmarker = "partition"\n') -> list[Finding]:
    """Return what is found, but for clock and disk's speed of the machine that runs the test."""
    found = check_box(box.config(more), RATE_BYTES_PER_S, box.root).findings
    theirs = [one for one in found if one.about != "disk speed"]
    return [one for one in theirs if "nobody keeps the system's clock" not in one.found]


def only(box: Box, more: str = '[spool]\nmarker = "partition"\n') -> Finding:
    (found,) = findings(box, more)
    return found


def test_a_box_that_is_as_it_should_be_has_nothing_wrong(box: Box) -> None:
    assert findings(box) == []


def test_a_finding_says_what_was_found_what_is_wanted_and_what_mends_it(box: Box) -> None:
    box.at("/dev/i2c-1").unlink()
    box.put("/boot/firmware/config.txt", "enable_uart=1\n")
    found = only(box)
    assert found.is_error
    assert str(found) == (
        "lane imu, I2C: found no /dev/i2c-1: the bus is not switched on in"
        " /boot/firmware/config.txt; wanted dtparam=i2c_arm=on; mend: the line"
        " `dtparam=i2c_arm=on,i2c_arm_baudrate=400000` under [all] in /boot/firmware/config.txt,"
        " then `reboot`"
    )


@pytest.mark.parametrize(
    ("text", "is_on"),
    [
        ("dtparam=i2c_arm=on,i2c_arm_baudrate=400000\n", True),
        ("dtparam=spi=on,i2c_arm\n", True),
        ("[pi4]\ndtparam=i2c_arm=on\n", True),
        ("[pi3]\ndtparam=i2c_arm=on\n", False),
        ("[cm4]\ndtparam=i2c_arm=on\n", False),
        ("[pi3]\ndtparam=spi=on\n[all]\ndtparam=i2c_arm=on\n", True),
        ("dtparam=i2c_arm=on\ndtparam=i2c_arm=off\n", False),
        ("#dtparam=i2c_arm=on\n", False),
    ],
)
def test_only_what_counts_on_this_board_switches_the_bus_on(
    box: Box, text: str, is_on: bool
) -> None:
    box.at("/dev/i2c-1").unlink()
    box.put("/boot/firmware/config.txt", f"{text}[all]\nenable_uart=1\n")
    assert ("not switched on" in only(box).found) is not is_on


def test_a_bus_that_waits_for_a_reboot_and_one_without_its_module_are_told_apart(box: Box) -> None:
    box.at("/dev/i2c-1").unlink()
    box.put("/proc/device-tree/soc/i2c@7e804000/status", "disabled\0")
    assert only(box).mend == "`reboot`"
    box.put("/proc/device-tree/soc/i2c@7e804000/status", "okay\0")
    assert "there is none" in only(box).found
    box.at("/sys/class/i2c-dev/i2c-1/name").unlink()
    box.at("/sys/class/i2c-dev/i2c-1").rmdir()
    box.at("/sys/class/i2c-dev").rmdir()
    assert "modprobe i2c-dev" in only(box).mend


def test_an_older_pi_os_has_its_files_in_boot(box: Box) -> None:
    for name in ("config.txt", "cmdline.txt"):
        box.at(f"/boot/firmware/{name}").rename(box.at(f"/boot/{name}"))
    box.put("/boot/cmdline.txt", "console=serial0,115200 console=tty1\n")
    assert "remove `console=serial0,115200` from /boot/cmdline.txt" in only(box).mend


def break_console(box: Box) -> None:
    box.put("/boot/firmware/cmdline.txt", "console=serial0,115200 console=tty1\n")


def break_kernel(box: Box) -> None:
    box.put("/proc/consoles", "ttyAMA0              -W- (EC  p a)    4:64\n")


def break_login(box: Box) -> None:
    folder = r"system.slice/system-serial\x2dgetty.slice"
    box.run_unit("serial-getty@ttyAMA0.service", folder)


def break_gpsd(box: Box) -> None:
    box.hold(711, "gpsd", "/dev/ttyAMA0", "gpsd.service")


def break_screen(box: Box) -> None:
    box.hold(712, "screen", "/dev/ttyAMA0", "session-3.scope")


def break_default(box: Box) -> None:
    box.put("/etc/default/gpsd", 'START="true"\nDEVICES="/dev/pps0 /dev/serial0"\n')


@pytest.mark.parametrize(
    ("broken", "found", "mend"),
    [
        (break_console, "console=serial0,115200 in", "remove `console=serial0,115200` from"),
        (break_kernel, "the kernel's console on /dev/ttyAMA0", "no `console=ttyAMA0`"),
        (break_login, "a login on /dev/ttyAMA0", "disable --now serial-getty@ttyAMA0"),
        (break_gpsd, "held by gpsd (process 711)", "disable --now gpsd.socket gpsd.service"),
        (break_screen, "held by screen (process 712)", "`kill 712`"),
        (break_default, "/dev/ttyAMA0 in /etc/default/gpsd", "disable --now gpsd.socket"),
    ],
)
def test_who_else_uses_the_receivers_line_is_an_error(
    box: Box, broken: Callable[[Box], None], found: str, mend: str
) -> None:
    broken(box)
    one = only(box)
    assert (one.about, one.is_error) == ("lane gps, UART", True)
    assert found in one.found
    assert mend in one.mend


def test_a_port_that_the_recorder_itself_has_open_is_no_finding(box: Box) -> None:
    box.hold(713, "rec-lane", "/dev/ttyAMA0", "recorder-lane@gps.service")
    box.hold(714, "bash", "/dev/ttyS7", "session-3.scope")
    assert findings(box) == []


def test_modemmanager_is_only_told_of_where_udev_does_not_keep_it_off(box: Box) -> None:
    box.run_unit("ModemManager.service")
    box.put("/sys/class/tty/ttyAMA0/dev", "204:64\n")
    found = only(box)
    assert not found.is_error
    assert "ModemManager" in found.found
    box.put("/run/udev/data/c204:64", "I:123\nE:ID_MM_PORT_IGNORE=1\n")
    assert findings(box) == []


def test_a_uart_that_is_switched_off_and_one_that_is_the_lesser_are_told(box: Box) -> None:
    box.put("/dev/ttyS0", "")
    box.at("/dev/ttyS0").chmod(0o666)
    box.link("/dev/serial0", "ttyS0")
    assert "dtoverlay=disable-bt" in only(box).mend
    box.at("/dev/serial0").unlink()
    found = only(box)
    assert found.is_error
    assert "enable_uart=1" in found.mend


def test_an_optional_lane_gives_advice_only(tmp_path: Path) -> None:
    box = Box(tmp_path, lanes=LANES.replace("[[lanes]]", "[[lanes]]\nrequired = false"))
    box.install()
    break_console(box)
    box.at("/dev/i2c-1").unlink()
    assert [one.is_error for one in findings(box)] == [False, False]


def test_users_folders_and_nodes_that_the_units_cannot_use_are_told(box: Box) -> None:
    box.put("/etc/group", box.machine.text("/etc/group").replace("recorder-rings", "other"))
    box.at("/dev/i2c-1").chmod(0o600)
    box.at("/var/lib/recorder/upload").rmdir()
    users, node, folder = sorted(findings(box), key=lambda one: one.about, reverse=True)
    assert "group recorder-rings" in users.found
    assert "systemd-sysusers" in users.mend
    assert "no folder /var/lib/recorder/upload" in node.found
    assert "systemd-tmpfiles" in node.mend
    assert "/dev/i2c-1 with mode 0600" in folder.found
    assert 'GROUP="i2c"' in folder.mend


def test_a_configuration_that_the_units_cannot_read_is_told(box: Box) -> None:
    place = "/etc/recorder/recorder.toml"
    box.put(place, "")
    box.at(place).chmod(0o644)
    assert findings(box) == []
    box.at(place).chmod(0o640)  # as it should be, but of another group
    one = only(box)
    assert f"{place} with mode 0640" in one.found
    assert (one.mend, one.is_error) == (f"`chown root:recorder {place} && chmod 640 {place}`", True)
    group = f"recorder:x:{box.root.stat().st_gid}:\n"
    box.put("/etc/group", group + box.machine.text("/etc/group").replace("recorder:x", "other:x"))
    assert findings(box) == []
    box.at(place).chmod(0o600)
    assert "with mode 0600, group recorder" in only(box).found


def test_a_spool_of_another_user_is_told(box: Box) -> None:
    passwd = box.machine.text("/etc/passwd")
    own = f"recorder-spool:x:{box.root.stat().st_uid}:"
    box.put("/etc/passwd", passwd.replace(own, "recorder-spool:x:54321:"))
    assert [one.mend for one in findings(box)] == [
        "`chown -R recorder-spool:recorder /var/lib/recorder/spool`",
        "`chown -R recorder-spool:recorder /var/lib/recorder/dependencies`",
    ]


@pytest.mark.parametrize(
    ("options", "found", "is_error"),
    [
        ("rw,noatime,nobarrier", "without flushes", True),
        ("rw,noatime,barrier=0", "without flushes", True),
        ("rw,noatime,data=writeback", "data=writeback", False),
        ("rw,noatime,discard", "discard", False),
        ("rw,noatime,sync", "sync: every write", False),
        ("rw,strictatime", "strictatime", False),
    ],
)
def test_an_option_of_the_mount_that_costs_data_or_time_is_told(
    box: Box, options: str, found: str, is_error: bool
) -> None:
    box.mounts(options=options)
    one = only(box)
    assert found in one.found
    assert one.is_error is is_error


def test_the_disk_is_named_with_what_can_be_seen_of_its_flushes(box: Box) -> None:
    disk = check_box(box.config(), RATE_BYTES_PER_S, box.root).disk
    assert str(disk) == (
        "ext4 at /var/lib/recorder on mmcblk0 (SD card SC32G, cache write back): rw,noatime"
    )


def test_a_file_system_that_forgets_and_an_old_emmc_are_told(box: Box) -> None:
    mounts = box.machine.text("/proc/self/mountinfo")
    box.put(
        "/proc/self/mountinfo", mounts.replace("- ext4 /dev/mmcblk0p3", "- vfat /dev/mmcblk0p3")
    )
    assert "vfat at /var/lib/recorder" in only(box).found
    box.mounts()
    box.put("/sys/devices/platform/mmc/mmcblk0/device/life_time", "0x02 0x0a\n")
    assert "100 % of its life" in only(box).found


def test_a_partition_without_a_marker_and_one_without_a_bounded_check_are_told(box: Box) -> None:
    assert not findings(box, "")  # what /etc/fstab names must be there
    box.put("/etc/fstab", "")
    assert "spool.marker" in only(box, "").found
    box.put("/etc/fstab", "UUID=1 /var/lib/recorder ext4 noatime 0 2\n")
    assert "without a time limit" in only(box).found
    box.put("/etc/fstab", "UUID=1 /var/lib/recorder ext4 noatime 0 0\n")
    assert "never" in only(box).found


def test_nothing_is_written_where_the_partition_is_missing(box: Box) -> None:
    box.at("/var/lib/recorder/partition").unlink()
    before = sorted(box.at("/var/lib/recorder").rglob("*"))
    found = check_box(box.config(), RATE_BYTES_PER_S, box.root)
    assert found.speed.error == "its partition is not mounted"
    assert sorted(box.at("/var/lib/recorder").rglob("*")) == before


def test_nothing_is_written_where_what_fstab_names_is_missing(box: Box) -> None:
    mounts = box.machine.text("/proc/self/mountinfo").splitlines()
    box.put(
        "/proc/self/mountinfo", "\n".join(one for one in mounts if "/var/lib/recorder" not in one)
    )
    found = check_box(box.config(""), RATE_BYTES_PER_S, box.root)
    assert found.speed.error == "its partition is not mounted"
    box.put("/etc/fstab", "/data /var/lib/recorder none rw,bind 0 0\n")  # of the same file system
    assert not check_box(box.config(""), RATE_BYTES_PER_S, box.root).speed.error


@pytest.mark.parametrize(
    ("flags", "found", "is_error"),
    [
        ("50005", "the supply is too low, it is throttled", True),
        ("50000", "the supply was too low, it was throttled", False),
        ("8", "it is too hot", True),
    ],
)
def test_a_supply_that_sags_is_told(box: Box, flags: str, found: str, is_error: bool) -> None:
    box.put("/sys/devices/platform/soc/soc:firmware/get_throttled", f"{flags}\n")
    told = findings(box)
    assert found in told[0].found
    assert told[0].is_error is is_error


def test_a_board_that_only_has_the_hwmon_tells_by_it(box: Box) -> None:
    box.at("/sys/devices/platform/soc/soc:firmware/get_throttled").unlink()
    box.put("/sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    box.put("/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
    assert findings(box) == []
    box.put("/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    assert only(box).is_error


def test_watchdog_root_and_clock_are_advice(box: Box) -> None:
    box.put("/etc/systemd/system.conf.d/recorder.conf", "[Manager]\n#RuntimeWatchdogSec=0\n")
    box.mounts(root="rw")
    box.put("/sys/class/rtc/rtc0/since_epoch", "86400\n")
    found = {one.about: one for one in findings(box)}
    assert set(found) == {"watchdog", "root", "clock"}
    assert not any(one.is_error for one in found.values())
    assert "RuntimeWatchdogSec=14" in found["watchdog"].mend
    assert "battery" in found["clock"].mend
    box.put("/etc/systemd/system.conf.d/recorder.conf", "[Manager]\nRuntimeWatchdogSec=1min\n")
    assert "at most 15 s" in {one.about: one for one in findings(box)}["watchdog"].wanted


def test_a_kernel_that_controls_no_memory_is_told(box: Box) -> None:
    box.put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n")
    found = only(box)
    assert not found.is_error
    assert "`cgroup_enable=memory`" in found.mend
    assert "/boot/firmware/cmdline.txt" in found.mend
    box.put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    assert findings(box) == []


def test_a_refclock_that_chrony_does_not_know_is_told(box: Box) -> None:
    more = '[spool]\nmarker = "partition"\n[clock]\nchrony_socket = "/run/chrony.gps.sock"\n'
    assert "refclock SOCK /run/chrony.gps.sock" in only(box, more).mend
    line = "refclock SOCK /run/chrony.gps.sock refid GPS\n"
    box.put("/etc/chrony/conf.d/recorder.conf", line)
    assert "enable --now chrony" in only(box, more).mend
    box.run_unit("chrony.service")
    assert findings(box, more) == []


def test_a_laptop_without_the_units_is_not_told_of_watchdog_root_and_users(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.mounts(root="rw")
    box.at("/dev/watchdog").unlink()
    assert findings(box) == []


def test_a_link_is_followed_inside_the_machine(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "dev/recorder").mkdir(parents=True)
    (tmp_path / "dev/recorder/gps").symlink_to("../ttyUSB3")
    (tmp_path / "dev/gps").symlink_to("/dev/recorder/gps")
    assert machine.real("/dev/gps") == "/dev/ttyUSB3"
    assert not machine.exists("/dev/gps")
    (tmp_path / "dev/ttyUSB3").touch()
    assert machine.exists("/dev/gps")


def test_this_machine_is_looked_at_too(tmp_path: Path) -> None:
    lanes = f'{LANES}[spool]\ndirectory = "{tmp_path}"\n'
    file = tmp_path / "recorder.toml"
    file.write_text(lanes)
    box = Box(tmp_path / "unused")
    found = check_box(box.config(f'[spool]\ndirectory = "{tmp_path}"\n'), RATE_BYTES_PER_S)
    assert found.disk is not None
    assert tmp_path.is_relative_to(found.disk.mount)
    assert found.speed.error or found.speed.commits > 0
    assert all(one.found and one.wanted and one.mend for one in found.findings)


def test_a_real_process_that_has_a_real_port_open_is_found_and_then_not() -> None:
    controller, device = os.openpty()
    port = os.ttyname(device)
    wire = Wire("gps", "uart", port, required=True)
    holder = subprocess.Popen(["sleep", "60"], stdin=device)
    try:
        os.close(device)
        found = [one for one in of_ports(Machine(), [wire]) if f"{holder.pid}" in one.found]
        assert [one.found for one in found] == [f"{port} held by sleep (process {holder.pid})"]
        assert found[0].is_error
    finally:
        holder.kill()
        holder.wait()
    assert [one for one in of_ports(Machine(), [wire]) if "held" in one.found] == []
    os.close(controller)


def test_a_file_that_says_nonsense_breaks_no_checkup(box: Box) -> None:
    box.put("/sys/devices/platform/soc/soc:firmware/get_throttled", "none\n")
    box.put("/sys/devices/platform/mmc/mmcblk0/device/life_time", "new old\n")
    box.put("/sys/devices/platform/mmc/mmcblk0/device/pre_eol_info", "?\n")
    box.put("/etc/fstab", "# nothing\n\nLABEL=recorder\n")
    box.put("/etc/passwd", box.machine.text("/etc/passwd") + "\nbroken\n::\n")
    box.put("/boot/firmware/config.txt", "[\ndtparam\n=\n[all]\ndtparam=i2c_arm=on\n\0")
    assert findings(box) == []


def test_a_spool_behind_a_link_is_looked_for_where_it_lies(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / "mnt/ssd/recorder").mkdir(parents=True)
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/recorder").symlink_to("../../mnt/ssd/recorder")
    assert machine.whole(Path("/var/lib/recorder")) == Path("/mnt/ssd/recorder")
