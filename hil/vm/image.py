"""The virtual machine's disk: Debian 13 with its kernel, the recorder's package, and the agent."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hil.root import root

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGES = (
    *("linux-image-amd64", "initramfs-tools", "e2fsprogs"),
    *("libtss2-esys-3.0.2-0t64", "libtss2-rc0t64", "libtss2-tcti-device0t64"),
)
SIZE = "3G"
CONFIG = "etc/recorder/recorder.toml"
AGENT = """[Unit]
Description=Agent of the bench
DefaultDependencies=no
After=systemd-remount-fs.service
[Service]
ExecStart=/usr/bin/python3 /opt/bench/agent.py
Restart=always
[Install]
WantedBy=sysinit.target
"""
#: A ground station that is not started, in the machine itself, which has no network but loopback.
GROUND = """[Unit]
Description=Ground station of the bench
[Service]
ExecStart=/usr/bin/recorder ground --dir /srv/ground --check-keys
Nice=5
"""
KEY_FILE = "/etc/credstore/recorder.key"
ADD_KEY = (
    "install -d -m 700 /etc/credstore && umask 077 &&"
    f" recorder ground --dir /srv/ground --new-key read,write --for box > {KEY_FILE}"
)
#: On a busy host an emulated machine takes minutes to start all of Python's processes.
PATIENT = "[Service]\nTimeoutStartSec=900\n"


@dataclass(frozen=True)
class Image:
    """What a machine boots from.

    Args:
        disk: the file system, raw.
        kernel: of the distribution.
        initrd: for it.
    """

    disk: Path
    kernel: Path
    initrd: Path


def build(
    deb: Path | None,
    settings: str,
    folder: Path,
    packages: Sequence[str] = (),
    complete: Callable[[Path], None] | None = None,
) -> Image:
    """Install a package into a fresh copy of the root, and make a disk of it.

    Args:
        deb: the recorder's package; None: it is not installed.
        settings: its configuration.
        folder: empty; where the image lies afterwards.
        packages: of Debian, beside the usual ones.
        complete: adds to the root what no package has.
    """
    system = folder / "root"
    subprocess.run(["cp", "-a", "--reflink=auto", root(*PACKAGES, *packages), system], check=True)
    if deb is not None:
        shutil.copy(deb, system / "srv")
        (system / CONFIG).parent.mkdir()
        (system / CONFIG).write_text(settings)
        _inside(system, f"dpkg --force-confold -i /srv/{deb.name}")
        (system / "srv" / deb.name).unlink()
        _inside(system, f"sh -c '{ADD_KEY}'")
        (system / "etc/systemd/system/bench-ground.service").write_text(GROUND)
    bench = system / "opt/bench"
    bench.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("agent.py"), bench)
    (system / "etc/systemd/system/bench-agent.service").write_text(AGENT)
    (system / "etc/systemd/system/recorder-.service.d").mkdir()
    (system / "etc/systemd/system/recorder-.service.d/patient.conf").write_text(PATIENT)
    _inside(system, "systemctl enable -q bench-agent")
    if complete is not None:
        complete(system)
    (system / "etc/fstab").write_text("/dev/vda / ext4 defaults,noatime 0 1\n")
    for place in ("etc", "var"):  # a box was booted before: systemd has caught up with /usr
        (system / place / ".updated").touch()
    disk = folder / "disk.img"
    command = ["mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(system), str(disk), SIZE]
    subprocess.run(command, check=True)
    kernel, initrd = (next(iter((system / "boot").glob(one))) for one in ("vmlinuz-*", "initrd*"))
    image = Image(disk, Path(shutil.copy(kernel, folder)), Path(shutil.copy(initrd, folder)))
    shutil.rmtree(system)
    return image


def _inside(system: Path, command: str) -> None:
    """Run a command in a root; what it needs of the kernel is mounted for as long as it runs."""
    script = (
        'mount -t proc proc "$1/proc" && mount -t sysfs sysfs "$1/sys" || exit;'
        f' exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin {command}'
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(system)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stdout}")
