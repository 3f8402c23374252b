"""The virtual machine's disk: Debian 13 with its kernel, the recorder's package, and the agent."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hil.root import CACHE, root

PACKAGES = ("linux-image-amd64", "initramfs-tools", "e2fsprogs")
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


def build(deb: Path, settings: str, folder: Path) -> Image:
    """Install a package into a fresh copy of the root, and make a disk of it.

    Args:
        deb: the recorder's package.
        settings: its configuration.
        folder: where the image lies afterwards.
    """
    base = root(*PACKAGES)
    with tempfile.TemporaryDirectory(dir=CACHE) as draft:
        system = Path(draft) / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(system)], check=True)
        shutil.copy(deb, system / "srv")
        _inside(system, f"dpkg -i /srv/{deb.name}")
        (system / "srv" / deb.name).unlink()
        (system / CONFIG).write_text(settings)
        bench = system / "opt/bench"
        bench.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("agent.py"), bench)
        (system / "etc/systemd/system/bench-agent.service").write_text(AGENT)
        _inside(system, "systemctl enable -q bench-agent")
        (system / "etc/fstab").write_text("/dev/vda / ext4 defaults,noatime 0 1\n")
        disk = folder / "disk.img"
        command = ["mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(system), str(disk), SIZE]
        subprocess.run(command, check=True)
        kernel, initrd = (
            next(iter((system / "boot").glob(one))) for one in ("vmlinuz-*", "initrd*")
        )
        return Image(disk, Path(shutil.copy(kernel, folder)), Path(shutil.copy(initrd, folder)))


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
