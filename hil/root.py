"""Debian 13 roots, built once from the distribution's own packages and kept for the next run.

What is kept lies in one folder, `CACHE`, each thing with a file ``NAME.lock`` beside it: whoever
makes or removes it holds that alone, whoever uses it holds it with others, until his process ends.
So two runs can share the folder. Of each kind the `MOST_KEPT` that were used last stay.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SUITE = "trixie"
#: What every root has.
PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "acl"),
    *("python3", "python3-venv", "procps", "iproute2"),
)
#: Where roots are kept; the environment may name another folder.
CACHE = Path(os.environ.get("RECORDER_HIL_CACHE", "~/.cache/edge-recorder-hil")).expanduser()
#: Of each kind; a root has 0.4 GB, a machine 1.1 GB.
MOST_KEPT = 3
#: In the lock of what was made to its end.
WHOLE = b"whole\n"
#: The locks of what this process uses.
_HELD: list[IO[bytes]] = []


def missing(*tools: str) -> str:
    """Return why roots cannot be used on this machine, or nothing."""
    if os.geteuid() != 0:
        return "the level needs root"
    absent = [one for one in ("mmdebstrap", "dpkg-deb", *tools) if shutil.which(one) is None]
    if absent:
        return f"missing: {', '.join(absent)}"
    apart = subprocess.run(["unshare", "--mount", "--ipc", "--uts", "true"], check=False)
    return "no right to mount here: root of a container?" if apart.returncode else ""


def keep(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, made if it is not there; it stays while this process lives.

    Args:
        kind: what it is, without a hyphen.
        key: which one; another one is another folder.
        make: fills the folder, which is empty.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    place = CACHE / f"{kind}-{key}"
    while True:
        lock = _locked(place, fcntl.LOCK_SH)
        if lock.read() == WHOLE and place.exists():
            break
        lock.close()
        with _locked(place, fcntl.LOCK_EX) as alone:
            if alone.read() != WHOLE or not place.exists():
                alone.truncate(0)
                shutil.rmtree(place, ignore_errors=True)  # of a run that was killed
                place.mkdir()
                make(place)
                alone.write(WHOLE)
    os.utime(lock.fileno())
    _HELD.append(lock)
    _forget(kind)
    return place


def _forget(kind: str) -> None:
    """Remove what was not used for longest, unless somebody uses it now."""
    places = [one for one in CACHE.glob(f"{kind}-*") if one.is_dir()]
    for old in sorted(places, key=_used_ns, reverse=True)[MOST_KEPT:]:
        with (
            contextlib.suppress(BlockingIOError),
            _locked(old, fcntl.LOCK_EX | fcntl.LOCK_NB),
        ):
            shutil.rmtree(old)
            _lock_of(old).unlink()


def _used_ns(place: Path) -> int:
    lock = _lock_of(place)
    return lock.stat().st_mtime_ns if lock.exists() else 0


def _lock_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")


def _locked(place: Path, how: int) -> IO[bytes]:
    """Return a place's lock, held.

    Raises:
        BlockingIOError: somebody else has it, and it was not to be waited for.
    """
    while True:
        lock = _lock_of(place).open("ab+")
        try:
            fcntl.flock(lock, how)
        except BlockingIOError:
            lock.close()
            raise
        if _is_of(lock, place):
            lock.seek(0)
            return lock
        lock.close()


def _is_of(lock: IO[bytes], place: Path) -> bool:
    """Tell whether a lock is still the one beside a place."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), _lock_of(place).stat())
    except FileNotFoundError:
        return False


def root(*more: str) -> Path:
    """Return the folder with a root, built if it is not there yet (about a minute).

    Args:
        more: packages that it has beside the usual ones.
    """
    packages = (*PACKAGES, *more)
    key = hashlib.sha256(" ".join((SUITE, *packages)).encode()).hexdigest()[:12]
    return keep(SUITE, key, lambda place: _debian(place, packages))


def _debian(place: Path, packages: tuple[str, ...]) -> None:
    command = [
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--quiet"),
        f"--include={','.join(packages)}",
        "--aptopt=APT::Install-Recommends false",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        *(SUITE, str(place)),
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    (place / "etc/hostname").write_text("box\n")
    (place / "etc/machine-id").write_text("")
