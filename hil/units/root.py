"""A Debian 13 root, built once from the distribution's own packages and kept for the next run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SUITE = "trixie"
PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "acl"),
    *("python3", "python3-venv", "procps", "iproute2"),
)
TOOLS = ("mmdebstrap", "systemd-nspawn", "nsenter", "dpkg-deb")
#: Where roots are kept; the environment may name another folder.
CACHE = Path(os.environ.get("RECORDER_HIL_CACHE", "~/.cache/edge-recorder-hil")).expanduser()


def why_not() -> str:
    """Return why no container can be booted on this machine, or nothing."""
    if os.geteuid() != 0:
        return "the level needs root"
    if missing := [one for one in TOOLS if shutil.which(one) is None]:
        return f"missing: {', '.join(missing)} (apt-get install systemd-container mmdebstrap)"
    filesystems = Path("/proc/filesystems").read_text()
    return "" if "overlay" in filesystems else "this kernel has no overlay file system"


def root() -> Path:
    """Return the folder with the root, built if it is not there yet (about a minute)."""
    key = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    place = CACHE / f"{SUITE}-{key}"
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = CACHE / f"{place.name}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        command = [
            *("mmdebstrap", "--mode=root", "--variant=minbase", "--quiet"),
            f"--include={','.join(PACKAGES)}",
            "--aptopt=APT::Install-Recommends false",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            *(SUITE, str(draft)),
        ]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        (draft / "etc/hostname").write_text("box\n")
        (draft / "etc/machine-id").write_text("")
        draft.rename(place)
    return place
