"""Plays a sensor on a USB device port until it is ended. Runs in the virtual machine.

``player.py gps|camera``; the camera shows ``picture.jpg`` beside it. The models are level 1's, the
port's driver is level 2's (`hil.rig.gadget`).
"""

import pathlib
import signal
import sys
import threading
import time

from drivers.sim.nmea_render import Fix, render
from hil.rig.gadget import Gadget
from hil.usb.device import UsbDevice
from hil.usb.ftdi import Ftdi
from hil.usb.uvc import Uvc

HERE = pathlib.Path(__file__).parent
TENTH_S, TENTH_NS = 0.1, 100_000_000
OVER = threading.Event()


def gps() -> UsbDevice:
    """Return an adapter with a receiver that knows the time and no place."""
    adapter = Ftdi(115_200)

    def talk() -> None:
        utc_ns = time.time_ns() // TENTH_NS * TENTH_NS
        while not OVER.wait(TENTH_S):
            utc_ns += TENTH_NS
            adapter.feed(render(Fix(utc_ns)))

    threading.Thread(target=talk, daemon=True).start()
    return adapter


def camera() -> UsbDevice:
    """Return a camera of one picture."""
    picture = (HERE / "picture.jpg").read_bytes()
    return Uvc(lambda *_: picture)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: OVER.set())
    PLUG = Gadget({"gps": gps, "camera": camera}[sys.argv[1]]())
    PLUG.insert()
    OVER.wait()
    PLUG.pull()
