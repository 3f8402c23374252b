"""The disk that the spool lies on: what it is, how it is mounted, what can be seen of its flushes.

Source: Documentation/filesystems/proc.rst (mountinfo), Documentation/block/queue-sysfs.rst
(`write_cache`: with ``write back`` the kernel sends flushes, with ``write through`` the device says
that it has nothing to flush), JESD84-B51 (`life_time` in steps of a tenth, `pre_eol_info`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.box.finding import Finding
from recorder.partition import named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.box.machine import Machine
    from recorder.config import Config

#: File systems that come back whole after a power cut.
_SAFE = ("ext4", "ext3", "xfs", "btrfs", "f2fs")
_SYSTEMS_FOLDERS = ("/lib/systemd/system", "/usr/lib/systemd/system")
_FSTAB = ("what", "where", "kind", "options", "dump", "check")
_FSCK = "recorder-fsck.service"
#: From the ninth tenth of its life on an eMMC should be replaced; its own word for that is 2 or 3.
_OLD_TENTHS, _URGENT = 9, 2
_TENTHS = {f"{number:#04x}": number for number in range(1, 12)}


@dataclass(frozen=True)
class Disk:
    """Where a folder lies.

    Args:
        mount: mount point of its file system.
        file_system: its kind.
        options: of the mount and of the file system together.
        source: the device, as it was mounted.
        device: the whole disk's name in the kernel, empty if it is on none.
        kind: SD card, eMMC, USB, NVMe, disk, or virtual.
        model: what the device calls itself.
        write_cache: ``write back``, ``write through``, or empty if the kernel does not tell.
        life_tenths: how much of an eMMC's life is over, 1 to 11; 0: not told.
        end_of_life: an eMMC's own word: 1 normal, 2 warning, 3 urgent; 0: not told.
    """

    mount: str
    file_system: str
    options: tuple[str, ...]
    source: str
    device: str
    kind: str
    model: str
    write_cache: str
    life_tenths: int
    end_of_life: int

    def __str__(self) -> str:
        cache = f", cache {self.write_cache}" if self.write_cache else ""
        device = f" on {self.device} ({' '.join(filter(None, [self.kind, self.model]))}{cache})"
        options = ",".join(one for one in self.options if "/" not in one)  # an overlay's folders
        return f"{self.file_system} at {self.mount}{device if self.device else ''}: {options}"


def disk_of(machine: Machine, directory: Path) -> Disk | None:
    """Return where a folder lies, or would lie; None if the machine does not tell."""
    best: list[str] = []
    for line in machine.text("/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        point = _plain(fields[4])
        # The last one counts: a later mount hides an earlier.
        if directory.is_relative_to(point) and (not best or len(point) >= len(_plain(best[4]))):
            best = fields
    if not best:
        return None
    kind, source, options = best[best.index("-") + 1 :][:3]
    folder = _block(machine, best[2])
    name = Path(folder).name if folder else ""
    tenths = machine.text(f"{folder}/device/life_time").split()
    return Disk(
        mount=_plain(best[4]),
        file_system=kind,
        options=tuple(dict.fromkeys([*best[5].split(","), *options.split(",")])),
        source=_plain(source),
        device=name,
        kind=_kind(machine, folder),
        model=machine.text(f"{folder}/device/model") or machine.text(f"{folder}/device/name"),
        write_cache=machine.text(f"{folder}/queue/write_cache"),
        life_tenths=max((_TENTHS.get(one, 0) for one in tenths), default=0),
        end_of_life=machine.number(f"{folder}/device/pre_eol_info", 16),
    )


def is_awaited(machine: Machine, config: Config) -> bool:
    """Tell whether the spool's partition is not mounted: then nothing is written in its place."""
    place, marker = config.spool.directory, config.spool.marker
    if marker and not machine.exists(place / marker):
        return True
    ours = {place, config.spool_dir} & set(named(machine.text("/etc/fstab")))
    disks = ((one, disk_of(machine, one)) for one in ours)
    return any(disk is not None and disk.mount != str(one) for one, disk in disks)


def _block(machine: Machine, number: str) -> str:
    """Return the folder in ``/sys`` of the whole disk behind a device number, or empty."""
    folder = machine.real(f"/sys/dev/block/{number}")
    if not machine.exists(f"{folder}/stat"):
        return ""
    return str(Path(folder).parent) if machine.exists(f"{folder}/partition") else folder


def _kind(machine: Machine, folder: str) -> str:
    name = Path(folder).name
    if name.startswith("mmcblk"):
        return "eMMC" if machine.text(f"{folder}/device/type") == "MMC" else "SD card"
    if "/usb" in folder:
        return "USB"
    if name.startswith("nvme"):
        return "NVMe"
    return "virtual" if "/virtual/" in folder or name.startswith("vd") else "disk" if name else ""


def _plain(text: str) -> str:
    """Return a path as it is: blanks and the like are written as octal numbers there."""
    return text.encode().decode("unicode_escape") if "\\" in text else text


def of_disk(machine: Machine, config: Config, disk: Disk) -> Iterator[Finding]:
    """Yield what is wrong with the spool's disk, apart from its speed."""
    yield from _of_options(disk)
    if disk.file_system not in _SAFE:
        place = config.spool.directory
        mend = f"`mkfs.ext4 -L recorder` of a partition of its own, mounted at {place}"
        found = f"{disk.file_system} at {disk.mount}"
        yield Finding("disk", found, "a file system with a journal, such as ext4", mend)
    if disk.end_of_life >= _URGENT or disk.life_tenths >= _OLD_TENTHS:
        found = f"{disk.device}: {disk.life_tenths * 10} % of its life over, by its own word"
        yield Finding("disk", found, "less than 90 %", "replace it")
    if Path(disk.mount) in (config.spool.directory, config.spool_dir):
        yield from _of_partition(machine, config, disk)


def _of_options(disk: Disk) -> Iterator[Finding]:
    if {"nobarrier", "barrier=0"} & set(disk.options):
        mend = f"remove nobarrier from {disk.mount} in /etc/fstab, then `mount -o remount`"
        yield Finding("disk", "mounted without flushes", "barriers: the default", mend, True)
    unwanted = {
        "data=writeback": "what was not committed may come back as other files' bytes",
        "sync": "every write is a commit of its own",
        "discard": "deleting makes cards stall; fstrim.timer does it by night",
        "strictatime": "every reading is a write",
    }
    for option in [one for one in disk.options if one in unwanted]:
        mend = f"remove {option} from the options of {disk.mount} in /etc/fstab"
        yield Finding("disk", f"{option}: {unwanted[option]}", "noatime alone", mend)


def _of_partition(machine: Machine, config: Config, disk: Disk) -> Iterator[Finding]:
    """Yield what a partition that is the spool's own lacks."""
    directory, fstab = config.spool.directory, machine.text("/etc/fstab")
    if not config.spool.marker and Path(disk.mount) not in set(named(fstab)):
        mend = f'`touch {directory}/partition`, and `marker = "partition"` under [spool]'
        found = "no spool.marker: should the partition be missing, its mount point is written to"
        yield Finding("disk", found, "nothing written then", mend)
    is_bounded = any(machine.exists(f"{one}/{_FSCK}") for one in _SYSTEMS_FOLDERS)
    for line in fstab.splitlines():
        fields = dict(zip(_FSTAB, line.split(), strict=False))
        is_ours = fields.get("what") == "LABEL=recorder" and fields.get("check", "0") == "0"
        if is_bounded and fields.get("where") == disk.mount and not is_ours:
            told = "without a time limit" if fields.get("check", "0") != "0" else "never"
            mend = f"`e2label {disk.source} recorder`, and LABEL=recorder … 0 0 in /etc/fstab"
            yield Finding("disk", f"checked {told} at boot", f"by {_FSCK}", mend)
