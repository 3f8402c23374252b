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
    """Read something."""
    with pathlib.Path(path).open("rb") as file:
        file.read(1)


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


DEEDS = {
    "network": connect_outside,
    "namespace": make_namespace,
    "be root": lambda: os.setuid(0),
    "set clock": lambda: __import__("time").clock_settime(0, 1.0),
    "kernel log": lambda: read("/dev/kmsg"),
    "serial port": lambda: write("/dev/probe-tty"),
    "disk": lambda: read("/dev/probe-disk"),
    "shadow": lambda: read("/etc/shadow"),
    "home": lambda: read("/run/user/0/secret"),
    "key": lambda: read("/etc/credstore/recorder.key"),
    "write system": lambda: make("/usr/lib"),
    "write settings": lambda: make("/etc/recorder"),
    "write spool": lambda: make("/var/lib/recorder/spool"),
    "read spool": lambda: read("/var/lib/recorder/spool/FORMAT"),
    "write upload": lambda: make("/var/lib/recorder/upload"),
    "another's ring": write_ring,
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
