"""Prepared folders that stand for a machine."""

from __future__ import annotations

from pathlib import Path

from recorder.box.machine import Machine
from recorder.config import Config
from recorder.configfile import load

LANES = """
[[lanes]]
name = "gps"
driver = "nmea_gps"
device = "/dev/serial0"
baud = 9600
[[lanes]]
name = "imu"
driver = "mpu6050"
device = "/dev/i2c-1"
[upload]
mode = "off"
"""
MOUNTS = """\
27 1 179:2 / / {root} - ext4 /dev/mmcblk0p2 {root}
28 27 179:3 / /var/lib/recorder {options} shared:3 - ext4 /dev/mmcblk0p3 {options}
"""
DISK = "/sys/devices/platform/mmc/mmcblk0"
PASSWD = tuple(f"recorder-{one}" for one in ("spool", "upload", "web", "power", "settings"))
GROUPS = ("recorder", "recorder-rings", "dialout", "i2c", "video", "gpio")


class Box:
    """A Raspberry Pi with everything as it should be, in a folder; a test then breaks it."""

    def __init__(self, root: Path, *, lanes: str = LANES) -> None:
        self.root = root
        self.machine = Machine(root)
        self._lanes = lanes
        self.put("/proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
        self.put("/proc/device-tree/aliases/i2c1", "/soc/i2c@7e804000\0")
        self.put("/proc/device-tree/soc/i2c@7e804000/status", "okay\0")
        self.put("/boot/firmware/config.txt", "dtparam=i2c_arm=on\n[all]\nenable_uart=1\n")
        self.put("/boot/firmware/cmdline.txt", "console=tty1 root=PARTUUID=1 rootwait\n")
        self.put("/proc/consoles", "tty1                 -WU (EC  p  )    4:1\n")
        self.put("/sys/class/i2c-dev/i2c-1/name", "bcm2835\n")
        for node in ("ttyAMA0", "i2c-1", "watchdog"):
            self.put(f"/dev/{node}", "")
            self.at(f"/dev/{node}").chmod(0o666)
        self.link("/dev/serial0", "ttyAMA0")
        self.mounts()
        self.put(f"{DISK}/stat", "0\n")
        self.put(f"{DISK}/queue/write_cache", "write back\n")
        self.put(f"{DISK}/device/type", "SD\n")
        self.put(f"{DISK}/device/name", "SC32G\n")
        self.put(f"{DISK}/mmcblk0p3/stat", "0\n")
        self.put(f"{DISK}/mmcblk0p3/partition", "3\n")
        self.link("/sys/dev/block/179:3", "../../devices/platform/mmc/mmcblk0/mmcblk0p3")
        self.put("/var/lib/recorder/partition", "")
        self.put("/sys/class/rtc/rtc0/since_epoch", "1800000000\n")
        self.put("/etc/systemd/system.conf.d/recorder.conf", "[Manager]\nRuntimeWatchdogSec=14\n")
        self.put("/sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")

    def install(self) -> None:
        """Put the units there, their users and groups, and the folders that they write in."""
        self.put("/usr/lib/systemd/system/recorder-spool.service", "")
        self.put("/usr/lib/systemd/system/recorder-fsck.service", "")
        owner = self.root.stat()
        numbers = {name: 90_000 + index for index, name in enumerate(PASSWD)}
        numbers |= dict.fromkeys(("recorder-spool", "recorder-upload"), owner.st_uid)
        users = (f"{name}:x:{number}:100::/:/bin/false" for name, number in numbers.items())
        self.put("/etc/passwd", "\n".join(users))
        groups = (f"{name}:x:{80_000 + index}:" for index, name in enumerate(GROUPS))
        self.put("/etc/group", "\n".join(groups))
        for folder in ("spool", "upload", "dependencies"):
            self.at(f"/var/lib/recorder/{folder}").mkdir(parents=True)
        self.put("/etc/fstab", "LABEL=recorder /var/lib/recorder ext4 noatime,nofail 0 0\n")

    def mounts(self, *, root: str = "ro", options: str = "rw,noatime") -> None:
        self.put("/proc/self/mountinfo", MOUNTS.format(root=root, options=options))

    def at(self, path: str) -> Path:
        return self.machine.at(path)

    def put(self, path: str, text: str) -> None:
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).write_text(text)

    def link(self, path: str, target: str) -> None:
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).unlink(missing_ok=True)
        self.at(path).symlink_to(target)

    def hold(self, pid: int, comm: str, device: str, unit: str = "") -> None:
        """Let a process have a device open."""
        self.put(f"/proc/{pid}/comm", f"{comm}\n")
        self.put(f"/proc/{pid}/cgroup", f"0::/system.slice/{unit}\n")
        self.link(f"/proc/{pid}/fd/0", "/dev/null")
        self.link(f"/proc/{pid}/fd/7", device)

    def run_unit(self, unit: str, folder: str = "system.slice") -> None:
        self.at(f"/sys/fs/cgroup/{folder}/{unit}").mkdir(parents=True)

    def config(self, more: str = '[spool]\nmarker = "partition"\n') -> Config:
        file = self.root / "recorder.toml"
        file.write_text(self._lanes + more)
        return load(file)
