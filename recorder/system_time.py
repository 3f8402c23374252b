"""What this machine's own clocks say of the time, as anchors: NTP's and the RTC's.

The kernel says whether anybody disciplines its clock, and how far that may be off at most
(`adjtimex`, fields `status` and `maxerror`; adjtimex(2)). An RTC says what it says.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from recorder.clock import anchor_now, boot_ns, wall_ns
from recorder.record import Anchor

__all__ = ["ntp_anchor", "rtc_anchor"]

#: systemd-timesyncd tells the kernel an error of 0 each time it hears a server, whatever the way
#: there took: half of what a mobile network's round trip may differ in its two directions.
NTP_LEAST_NS = 30_000_000
#: An NTP that is worse than this has lost its servers long ago.
NTP_MOST_NS = 1_000_000_000
#: An RTC with a crystal of 20 ppm that was set a month ago. Nobody can ask it when it was set.
RTC_UNCERTAINTY_NS = 60_000_000_000
#: An RTC that lost its battery begins at some year's first day; no recorder ran before this.
RTC_EARLIEST_NS = 1_704_067_200_000_000_000  # 2024
_RTC_RESOLUTION_NS = 1_000_000_000
_RTC = Path("/sys/class/rtc/rtc0/since_epoch")

_TIME_ERROR, _STA_UNSYNC = 5, 0x0040


class _Timex(ctypes.Structure):
    """The kernel's ``struct timex``; only a few of its fields matter here."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror_us", ctypes.c_long),
        ("esterror_us", ctypes.c_long),
        ("status", ctypes.c_int),
        ("_rest", ctypes.c_long * 40),
    )


def ntp_anchor() -> Anchor | None:
    """Return what the system's clock says, if the kernel calls it synchronised; else None.

    Its bound is the kernel's `maxerror`, and at least `NTP_LEAST_NS`.
    """
    told = _Timex()  # modes 0: only asked, nothing is set
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(told))
    bound_ns = max(told.maxerror_us * 1000, NTP_LEAST_NS)
    is_off = state in (-1, _TIME_ERROR) or told.status & _STA_UNSYNC
    if is_off or bound_ns > NTP_MOST_NS:
        return None
    boot = boot_ns()
    return anchor_now(boot, wall_ns(boot), bound_ns, "ntp")


def rtc_anchor(path: Path = _RTC) -> Anchor | None:
    """Return what the RTC says; None if there is none, or its battery was empty.

    Args:
        path: the kernel's file with its seconds since 1970 (UTC, as Linux keeps it).
    """
    try:
        utc_ns = int(path.read_text()) * 1_000_000_000 + _RTC_RESOLUTION_NS // 2
    except (OSError, ValueError):
        return None
    if utc_ns < RTC_EARLIEST_NS:
        return None
    return anchor_now(boot_ns(), utc_ns, RTC_UNCERTAINTY_NS, "rtc")
