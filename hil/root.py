"""Debian 13 roots, built once from the distribution's own packages and kept for the next run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SUITE = "trixie"
#: What every root has.
PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "acl"),
    *("python3", "python3-venv", "procps", "iproute2"),
)
#: Where roots are kept; the environment may name another folder.
CACHE = Path(os.environ.get("RECORDER_HIL_CACHE", "~/.cache/edge-recorder-hil")).expanduser()


def missing(*tools: str) -> str:
    """Return why roots cannot be used on this machine, or nothing."""
    if os.geteuid() != 0:
        return "the level needs root"
    absent = [one for one in ("mmdebstrap", "dpkg-deb", *tools) if shutil.which(one) is None]
    return f"missing: {', '.join(absent)}" if absent else ""


def root(*more: str) -> Path:
    """Return the folder with a root, built if it is not there yet (about a minute).

    Args:
        more: packages that it has beside the usual ones.
    """
    packages = (*PACKAGES, *more)
    key = hashlib.sha256(" ".join((SUITE, *packages)).encode()).hexdigest()[:12]
    place = CACHE / f"{SUITE}-{key}"
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = CACHE / f"{place.name}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        command = [
            *("mmdebstrap", "--mode=root", "--variant=minbase", "--quiet"),
            f"--include={','.join(packages)}",
            "--aptopt=APT::Install-Recommends false",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            *(SUITE, str(draft)),
        ]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        (draft / "etc/hostname").write_text("box\n")
        (draft / "etc/machine-id").write_text("")
        draft.rename(place)
    return place
