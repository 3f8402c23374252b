"""What a process of the recorder must not do, tried from inside its own unit's sandbox.

Prints one line of JSON: by the name of each deed, what became of it: ``done`` or the error's name.
"""

import ctypes
import errno
import json
import os
import pathlib
import socket
import sys


def connect_outside() -> None:
    """Open a socket of the network family, and send."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("127.0.0.1", 9))


def make_namespace() -> None:
    """Leave into a user namespace of one's own, where one would be root."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000):
        raise OSError(ctypes.get_errno(), "unshare")


def read(path: str) -> None:
    """Read something; what systemd puts in the place of a hidden file is empty."""
    with pathlib.Path(path).open("rb") as file:
        if not file.read(1):
            raise OSError(errno.ENOENT, "empty")


def write(path: str) -> None:
    """Open something that is there for writing."""
    with pathlib.Path(path).open("r+b"):
        pass


def write_ring() -> None:
    """Open the ring of another lane than the one that the probe stands for."""
    (ring,) = pathlib.Path("/run/recorder/rings").glob("gps.*.ring")
    write(str(ring))


def make(path: str) -> None:
    """Make a file in a folder, and remove it."""
    place = pathlib.Path(path) / "probe"
    place.write_bytes(b"")
    place.unlink()


def open_node(path: str) -> None:
    """Open a device node; that no device is behind it is the kernel's answer to who may."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.ENODEV, errno.EIO):
            raise


def signal_spool() -> None:
    """Ask whether the spool's process could be killed."""
    os.kill(int(pathlib.Path("/opt/bench/spool.pid").read_text()), 0)


DEEDS = {
    "a socket to the network": connect_outside,
    "a serial port": lambda: open_node("/dev/probe-serial"),
    "an I2C bus": lambda: open_node("/dev/probe-i2c"),
    "a camera": lambda: open_node("/dev/probe-camera"),
    "a pin": lambda: open_node("/dev/probe-pin"),
    "a disk": lambda: open_node("/dev/probe-disk"),
    "the memory": lambda: open_node("/dev/probe-memory"),
    "another lane's ring": write_ring,
    "write the spool": lambda: make("/var/lib/recorder/spool"),
    "read the spool": lambda: read("/var/lib/recorder/spool/FORMAT"),
    "write the upload's journals": lambda: make("/var/lib/recorder/upload"),
    "write the kept settings": lambda: make("/opt/recorder/current/settings"),
    "the key's file": lambda: read("/etc/credstore/recorder.key"),
    "another unit's credential": lambda: read("/run/credentials/bench-other.service/recorder.key"),
    "power off": lambda: make("/run/recorder/power"),
    "signal the spool": signal_spool,
    "become root": lambda: os.setuid(0),
    "a namespace of its own": make_namespace,
    "set the clock": lambda: __import__("time").clock_settime(0, 1.0),
    "the kernel's log": lambda: read("/dev/kmsg"),
    "the passwords": lambda: read("/etc/shadow"),
    "a user's home": lambda: read("/run/user/0/secret"),
    "write the system": lambda: make("/usr/lib"),
    "write the settings": lambda: make("/etc/recorder"),
}


def tried(deed: object) -> str:
    """Do one thing, and return what became of it."""
    try:
        deed()  # type: ignore[operator] # every one is a function without arguments
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except ValueError:
        return "ENOENT"  # the folder of the rings is hidden
    return "done"


sys.stdout.write(json.dumps({name: tried(deed) for name, deed in DEEDS.items()}) + "\n")
