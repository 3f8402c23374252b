"""When an epoch was: by its first byte, or by the second pulse where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from drivers.base import DeviceLostError, DriverError
from drivers.pps import Pps

if TYPE_CHECKING:
    from drivers.nmea_epoch import Epoch

#: Without PPS the first byte comes tens of ms after the instant it speaks of, on some receivers
#: more (chrony's own measurements show 73 ms): the bound we state.
UTC_UNCERTAINTY_NS = 100_000_000
#: A PPS device that is not there is looked for again so often: behind USB it comes after its line.
RETRY_NS = 5_000_000_000


class Stamp(NamedTuple):
    """The time of a sample; the arguments of `Sample`."""

    boot_ns: int
    utc_ns: int | None = None
    utc_uncertainty_ns: int = 0
    utc_source: str = "gps"


class EpochTime:
    """Stamps epochs.

    A pulse says when the instant itself was, which is earlier than the first byte. So that time
    does not go back where pulses begin, stamps stand nearly still until they are ahead of the last.

    Args:
        path: of the PPS device; empty: none.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._pps: Pps | None = None
        self._last_ns = self._retry_ns = 0

    def open(self) -> str:
        """Open the PPS device; return its path, or why there is none: it is not waited for."""
        self.close()
        try:
            self._pps = Pps(self._path)
        except DriverError as error:
            return f"none: {error}"
        return self._path

    def stamp(self, epoch: Epoch, late_ns: int | None = 0) -> Stamp:
        """Return an epoch's time.

        A pulse only says where a second begins, not which. So it is taken only for an epoch that
        was read in time.

        Args:
            epoch: it.
            late_ns: by how much its first byte was read late; None: not known.
        """
        came_ns = epoch.boot_ns - (late_ns or 0)
        stamp = Stamp(came_ns)
        if epoch.quality and epoch.utc_ns is not None:
            pulse = self._pulse(epoch.utc_ns, came_ns)
            if pulse is None or late_ns != 0:
                stamp = Stamp(came_ns, epoch.utc_ns, UTC_UNCERTAINTY_NS)
            else:
                stamp = pulse
        if (late_ns or stamp.utc_source == "pps") and stamp.boot_ns <= self._last_ns:
            stamp = Stamp(self._last_ns + 1)
        self._last_ns = stamp.boot_ns
        return stamp

    def _pulse(self, utc_ns: int, boot_ns: int) -> Stamp | None:
        if self._pps is None and self._path and boot_ns >= self._retry_ns:
            self._retry_ns = boot_ns + RETRY_NS
            self.open()
        if self._pps is None:
            return None
        try:
            self._pps.fetch()
        except DeviceLostError:
            self.close()  # the receiver still speaks: meanwhile its first bytes stamp
            return None
        found = self._pps.pulses.pair(utc_ns, boot_ns)
        return None if found is None else Stamp(found[0], utc_ns, found[1], "pps")

    def close(self) -> None:
        """Release the PPS device; may be called twice."""
        if self._pps is not None:
            self._pps.close()
        self._pps = None
