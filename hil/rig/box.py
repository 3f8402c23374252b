"""A box on the rig: its shell, its supply, and the port that its sensors are played on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from hil.rig.gadget import Gadget
from hil.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hil.usb.device import UsbDevice

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
CONFIG = "/etc/recorder/recorder.toml"
#: What a scenario begins with is an empty spool; only a box of this name is emptied.
BENCH = "bench"
MOST_WORDS = 2000


@dataclass(frozen=True)
class Rig:
    """What stands on the table; `rig.toml` is an example.

    Args:
        reach: the words before a shell command that run it on the box as root, such as ssh's.
        off, on: shell commands, run here, that take the box's supply away and give it back.
        off_s: how long its supply stays away, until its capacitors are empty.
        boot_s: how long it may take to be up again.
        console: a shell command, run here, that prints what its console says; empty: there is none.
    """

    reach: Sequence[str]
    off: str
    on: str
    off_s: float = 5.0
    boot_s: float = 180.0
    console: str = ""


def read(path: Path) -> Rig:
    """Read a rig's file.

    Raises:
        ValueError: a key is missing or unknown; the message names it.
    """
    with path.open("rb") as file:
        found: dict[str, Any] = tomllib.load(file)
    known = {one.name for one in fields(Rig)}
    if unknown := set(found) - known:
        raise ValueError(f"{path}: unknown {sorted(unknown)}; known are {sorted(known)}")
    if missing := {"reach", "off", "on"} - set(found):
        raise ValueError(f"{path}: missing {sorted(missing)}")
    return Rig(**found)


class RigBox(Shell):
    """The computer under test; a context manager, which listens to its console meanwhile.

    Args:
        rig: how it is reached and switched.
        folder: for what its console says.
    """

    def __init__(self, rig: Rig, folder: Path) -> None:
        self._rig = rig
        self._said = folder / "console"
        self._said.touch()
        self._listening: subprocess.Popen[bytes] | None = None

    def reach(self) -> Sequence[str]:
        """Return the words before a shell command that bring it to the box."""
        return self._rig.reach

    def last_words(self) -> str:
        """Return the end of what its console said."""
        return self._said.read_text(errors="replace")[-MOST_WORDS:]

    def plug(self, name: str, device: UsbDevice) -> Gadget:
        """Return the plug of a device for this machine's USB device port."""
        return Gadget(device)

    def lose_power(self) -> float:
        """Cut its supply, give it back, and return the seconds until it is up again."""
        before = self.run(BOOT_ID)
        subprocess.run(self._rig.off, shell=True, check=True)
        time.sleep(self._rig.off_s)
        subprocess.run(self._rig.on, shell=True, check=True)
        return self._back(before)

    def crash(self, command: str) -> float:
        """Run a shell command that it does not survive; return the seconds until it is up again."""
        before = self.run(BOOT_ID)
        self.try_(f"({command}) >/dev/null 2>&1 &")
        return self._back(before)

    def _back(self, before: str) -> float:
        begin_s = time.monotonic()
        while True:
            code, boot_id = self.try_(BOOT_ID)
            took_s = time.monotonic() - begin_s
            if not code and boot_id != before:
                return took_s
            what = "it has not lost its power" if not code else "it is not up"
            assert took_s < self._rig.boot_s, f"{what} after {took_s:.0f} s\n{self.last_words()}"
            time.sleep(1)

    def begin(self, settings: str) -> None:
        """Empty it and configure it: it runs, with no sensor, as a scenario finds it.

        Raises:
            ValueError: it is no bench's; nothing was touched.
        """
        own = self.try_(f"cat {CONFIG}").said
        if tomllib.loads(own).get("vehicle", {}).get("name") != BENCH:
            raise ValueError(
                f'{CONFIG} on the box does not say [vehicle] name = "{BENCH}": what it has recorded'
                " would be removed, so only a box of that name is used"
            )
        self.run("systemctl stop recorder.target 'recorder-*.service'")
        self.run("rm -rf /var/lib/recorder/spool/* /var/lib/recorder/upload/*")
        self.put(settings, CONFIG)
        self.run("systemctl restart run-recorder-rings.mount && systemctl daemon-reload")
        self.run("systemctl start recorder.target")
        for lane in tomllib.loads(settings)["lanes"]:
            self.until(f"systemctl show -P StatusText recorder-lane@{lane['name']} | grep absent")

    def __enter__(self) -> RigBox:
        if self._rig.console:
            with self._said.open("wb") as file:
                self._listening = subprocess.Popen(
                    ["sh", "-c", self._rig.console],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    start_new_session=True,
                )
        return self

    def close(self) -> None:
        """Listen no more; may be called twice."""
        if self._listening is not None:
            os.killpg(self._listening.pid, signal.SIGTERM)
            self._listening.wait()
            self._listening = None

    def __exit__(self, *_: object) -> None:
        self.close()
