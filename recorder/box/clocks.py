"""Whether the box knows what time it is: NTP, an RTC with a battery, chrony fed by the receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.box.finding import Finding
from recorder.system_time import RTC_EARLIEST_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.box.machine import Machine
    from recorder.config import Config

_CHRONY = ("chrony.service", "chronyd.service")


def of_clocks(machine: Machine, config: Config, *, is_synchronised: bool) -> Iterator[Finding]:
    """Yield what is wrong with the clocks; recording needs none of them.

    Args:
        machine: the machine.
        config: the resolved configuration.
        is_synchronised: whether the kernel calls the system's clock synchronised.
    """
    if config.clock.chrony_socket is not None:
        yield from _of_chrony(machine, str(config.clock.chrony_socket))
    if not machine.is_appliance:
        return
    if not is_synchronised:
        mend = "`apt install chrony`, fed by the receiver (docs/time.md) where there is no network"
        found = "nobody keeps the system's clock"
        yield Finding("clock", found, "NTP, or the receiver through chrony", mend)
    yield from _of_rtc(machine)


def _of_chrony(machine: Machine, socket: str) -> Iterator[Finding]:
    files = ("/etc/chrony/chrony.conf", "/etc/chrony.conf", *machine.glob("/etc/chrony/conf.d/*"))
    lines = [line for one in files for line in machine.text(one).splitlines()]
    if not any(line.split()[:3] == ["refclock", "SOCK", socket] for line in lines):
        line = f"refclock SOCK {socket} refid GPS poll 4"
        mend = f"the line `{line}` in /etc/chrony/conf.d/recorder.conf"
        found = f"clock.chrony_socket {socket}, and no refclock of chrony's on it"
        yield Finding("clock", found, "both, or neither", mend)
    elif machine.is_appliance and not any(map(machine.runs, _CHRONY)):
        mend = "`systemctl enable --now chrony`"
        yield Finding("clock", "chrony does not run", "it fed by the receiver", mend)


def _of_rtc(machine: Machine) -> Iterator[Finding]:
    clocks = machine.glob("/sys/class/rtc/rtc*")
    wanted = "an RTC that goes on without power"
    if not clocks:
        mend = "an RTC and its overlay, such as `dtoverlay=i2c-rtc,ds3231`"
        found = "no RTC: after a start without network and fix nobody knows the date"
        yield Finding("clock", found, wanted, mend)
    elif machine.number(f"{clocks[0]}/since_epoch") * 1_000_000_000 < RTC_EARLIEST_NS:
        mend = "a battery, then `hwclock --systohc` once the time is known"
        yield Finding("clock", "an RTC that says a date before 2024", wanted, mend)
