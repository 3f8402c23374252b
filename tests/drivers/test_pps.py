"""The second pulse, as far as it goes without a PPS device.

Its layouts are checked against the C compiler and the kernel's own header, its answers are made by
hand, and the ioctl is only seen refused. A device of the kernel's is for the bench: `gps-pulse`.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from drivers.base import DeviceAbsentError, DeviceLostError, WrongDeviceError
from drivers.epoch_counter import Counter
from drivers.epoch_time import UTC_UNCERTAINTY_NS, EpochTime
from drivers.nmea import Decoder
from drivers.pps import (
    FETCH,
    MOST_DELAY_NS,
    PPS_FETCH,
    UNCERTAINTY_NS,
    USB_UNCERTAINTY_NS,
    Clocks,
    Pps,
    Pulse,
    Pulses,
    pair,
    uncertainty_ns,
)
from drivers.sim.nmea_render import Fix, render

SECOND_NS = 1_000_000_000
LEAD_NS = -1_700_000_000_000_000_000  # boot time minus real time
UTC_NS = 1_750_507_200_000_000_000
DEVICES = sorted(map(str, Path("/dev").glob("pps*")))
HEADER = Path("/usr/include/linux/pps.h")
PROGRAM = """
#include <stdio.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <linux/pps.h>
#define at(member) offsetof(struct pps_fdata, member)
int main(void) {
    printf("%zu %lu %zu %zu %zu %zu %zu\\n", sizeof(struct pps_fdata), (unsigned long)PPS_FETCH,
           at(info.assert_sequence), at(info.assert_tu), at(info.assert_tu.nsec), at(info.clear_tu),
           at(timeout));
}
"""


def fetched(number, at_real_ns):
    second, nanos = divmod(at_real_ns, SECOND_NS)
    return FETCH.pack(number, 0, second, nanos, 0, 0, 0, 0, 0, 0, 0, 0)


def real_ns(boot_ns):
    return boot_ns - LEAD_NS


@pytest.mark.skipif(
    not (HEADER.exists() and shutil.which("gcc")), reason="needs gcc and the kernel's headers"
)
def test_the_layout_and_the_number_are_those_of_the_kernels_header(tmp_path):
    (tmp_path / "pps.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-o", tmp_path / "pps", tmp_path / "pps.c"], check=True, timeout=60)
    said = subprocess.run([tmp_path / "pps"], check=True, capture_output=True, timeout=10).stdout
    size, number, *offsets = map(int, said.split())
    assert (size, number) == (FETCH.size, PPS_FETCH)
    # Where a value lands when only its field is filled.
    raw = FETCH.pack(1, 0, 2, 3, 0, 4, 0, 0, 0, 5, 0, 0)
    found = [struct.unpack_from("<I", raw, offset)[0] for offset in offsets]
    assert found == [1, 2, 3, 4, 5]


def test_what_is_no_pps_device_is_the_wrong_one(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WrongDeviceError, match=r"file: is no PPS device, such as /dev/pps0"):
        Pps(str(tmp_path / "file"))


def test_an_absent_device_is_absent(tmp_path):
    with pytest.raises(DeviceAbsentError, match="pps0: No such file"):
        Pps(str(tmp_path / "pps0"))


@pytest.mark.skipif(not DEVICES, reason="no PPS device on this machine")
def test_a_real_device_can_be_asked():
    pps = Pps(DEVICES[0])
    pps.fetch()
    pps.close()
    pps.close()


def test_a_pulse_is_brought_to_boot_time():
    pulses = Pulses()
    pulses.take(fetched(7, real_ns(10 * SECOND_NS)), Clocks(LEAD_NS, 100))
    assert pulses.pair(UTC_NS, 10 * SECOND_NS) is None  # nobody knows if a clock was set before
    pulses.take(fetched(8, real_ns(11 * SECOND_NS)), Clocks(LEAD_NS + 50, 100))
    at_ns = 11 * SECOND_NS + 50
    assert pulses.pair(UTC_NS, at_ns + 70_000_000) == (at_ns, UNCERTAINTY_NS + 100)


def test_the_same_pulse_fetched_again_is_one_pulse_and_none_is_none():
    pulses = Pulses()
    pulses.take(fetched(0, 0), Clocks(LEAD_NS, 0))
    pulses.take(fetched(0, 0), Clocks(LEAD_NS, 0))
    assert pulses.pair(0, 5) is None
    for _ in range(3):
        pulses.take(fetched(9, real_ns(SECOND_NS)), Clocks(LEAD_NS, 0))
    assert len(pulses._kept) == 1


def test_a_pulse_across_a_step_of_the_systems_clock_is_left_out():
    pulses = Pulses()
    pulses.take(fetched(1, real_ns(0)), Clocks(LEAD_NS, 0))
    stepped_ns = LEAD_NS - 3600 * SECOND_NS
    pulses.take(fetched(2, real_ns(SECOND_NS)), Clocks(stepped_ns, 0))
    assert pulses.pair(UTC_NS, SECOND_NS) is None
    pulses.take(fetched(3, 2 * SECOND_NS - stepped_ns), Clocks(stepped_ns, 0))
    assert pulses.pair(UTC_NS, 2 * SECOND_NS) is not None


def test_an_epoch_within_the_second_is_so_much_behind_its_pulse():
    pulses = [Pulse(1, 100 * SECOND_NS, 5), Pulse(2, 101 * SECOND_NS, 6)]
    for tenth in range(10):
        utc_ns = UTC_NS + tenth * SECOND_NS // 10
        instant_ns = 101 * SECOND_NS + tenth * SECOND_NS // 10
        assert pair(pulses, utc_ns, instant_ns + 120_000_000) == (instant_ns, 6)


@pytest.mark.parametrize("delay_ns", [-1, MOST_DELAY_NS])
def test_an_epoch_that_is_too_early_or_too_late_has_no_pulse(delay_ns):
    assert pair([Pulse(1, 0, 5)], UTC_NS, delay_ns) is None


def epoch(boot_ns, utc_ns=UTC_NS, latitude_deg: float | None = 47.5):
    decoder = Decoder()
    (found,) = decoder.feed(render(Fix(utc_ns, latitude_deg, 11.0)), boot_ns) + decoder.flush()
    return found


class Pulsing(Pps):
    """A PPS device without the device: its pulses come at whole seconds of boot time."""

    def __init__(self):
        self.pulses = Pulses()
        self.at_s = 0

    def fetch(self):
        self.pulses.take(fetched(self.at_s + 1, real_ns(self.at_s * SECOND_NS)), Clocks(LEAD_NS, 0))

    def close(self):
        pass


def stamps(*epochs, pulsing=None):
    time = EpochTime()
    time._pps = pulsing
    found = []
    for one in epochs:
        if pulsing is not None:
            pulsing.at_s = one.boot_ns // SECOND_NS
        found.append(time.stamp(one))
    return found


def test_without_a_pulse_the_first_byte_is_the_time_and_gps_the_source():
    (stamp,) = stamps(epoch(5 * SECOND_NS + 7))
    assert stamp == (5 * SECOND_NS + 7, UTC_NS, UTC_UNCERTAINTY_NS, "gps")


def test_without_a_fix_no_utc_is_claimed_pulse_or_not():
    assert stamps(epoch(SECOND_NS, latitude_deg=None))[0].utc_ns is None
    pulsing = Pulsing()
    pulsing.fetch()
    (stamp,) = stamps(epoch(3 * SECOND_NS + 9, latitude_deg=None), pulsing=pulsing)
    assert (stamp.boot_ns, stamp.utc_ns) == (3 * SECOND_NS + 9, None)


def test_with_a_pulse_the_instant_itself_is_the_time_to_microseconds():
    pulsing = Pulsing()
    pulsing.fetch()
    times_ns = [3 * SECOND_NS + 80_000_000, 4 * SECOND_NS + 95_000_000]
    found = stamps(
        *(epoch(at, UTC_NS + n * SECOND_NS) for n, at in enumerate(times_ns)), pulsing=pulsing
    )
    assert [s.boot_ns for s in found] == [3 * SECOND_NS, 4 * SECOND_NS]
    assert {(s.utc_source, s.utc_uncertainty_ns) for s in found} == {("pps", UNCERTAINTY_NS)}


def late_stamps(boots_ns):
    """Stamp an epoch of each second, read at these times, with a pulse at each whole second."""
    pulsing, counter, time = Pulsing(), Counter(1.0), EpochTime()
    pulsing.fetch()
    time._pps = pulsing
    found = []
    for number, boot_ns in enumerate(boots_ns):
        one = epoch(boot_ns, UTC_NS + number * SECOND_NS)
        pulsing.at_s = boot_ns // SECOND_NS
        counter.number(one.utc_ns, boot_ns)
        found.append(time.stamp(one, counter.late_ns(one.utc_ns, boot_ns)))
    return found


def test_an_epoch_that_was_read_a_second_late_is_not_taken_for_one_of_the_next_second():
    in_time = [(10 + n) * SECOND_NS + 50_000_000 for n in range(5)]
    *found, late = late_stamps([*in_time[:4], in_time[4] + SECOND_NS])
    assert [s.utc_source for s in found] == ["gps", "pps", "pps", "pps"]
    assert late.utc_source == "gps"
    assert abs(late.boot_ns - in_time[4]) < 10_000_000


def test_a_pulse_counts_only_when_it_is_known_how_late_epochs_are_read():
    kept = [20 * SECOND_NS + n for n in range(3)]  # read at once, after nobody read for long
    in_time = [(17 + n) * SECOND_NS + 50_000_000 for n in range(3, 6)]
    found = late_stamps(kept + in_time)
    assert [s.utc_source for s in found] == ["gps"] * 4 + ["pps"] * 2
    assert found[-1].boot_ns == 22 * SECOND_NS


def test_behind_usb_a_pulse_is_stated_to_milliseconds():
    pulses = Pulses(uncertainty_ns("/dev/ttyUSB0"))
    for second in (1, 2):
        pulses.take(fetched(second, real_ns(second * SECOND_NS)), Clocks(LEAD_NS, 0))
    assert pulses.pair(UTC_NS, 2 * SECOND_NS) == (2 * SECOND_NS, USB_UNCERTAINTY_NS)


class Fickle(Pulsing):
    """A PPS device that comes and goes."""

    is_there = True

    def fetch(self):
        if not self.is_there:
            raise DeviceLostError("it is gone")
        super().fetch()


def test_a_pulse_that_comes_later_is_found_and_one_that_went_is_found_again(monkeypatch):
    pulsing = Fickle()
    pulsing.fetch()  # whether a clock was set before is known from here on

    def look(path):
        assert path == "/dev/pps0"
        if not pulsing.is_there:
            raise DeviceAbsentError(path)
        return pulsing

    monkeypatch.setattr("drivers.epoch_time.Pps", look)
    time = EpochTime("/dev/pps0")
    sources = []
    for second in range(2, 26):
        pulsing.at_s = second
        pulsing.is_there = second in (*range(8, 13), *range(20, 26))
        one = epoch(second * SECOND_NS, UTC_NS + second * SECOND_NS)
        sources.append(time.stamp(one).utc_source)
    # Looked for at 2, 7 and 12, and then at 17 and 22.
    assert sources == 10 * ["gps"] + ["pps"] + 9 * ["gps"] + 4 * ["pps"]


def test_time_does_not_go_back_where_pulses_begin():
    pulsing = Pulsing()
    time = EpochTime()
    tenth_ns = SECOND_NS // 10
    epochs = [epoch(2 * SECOND_NS + n * tenth_ns, UTC_NS + n * tenth_ns) for n in range(8)]
    epochs = [  # the receiver is 150 ms late
        epoch(one.boot_ns + 150_000_000, UTC_NS + n * tenth_ns) for n, one in enumerate(epochs)
    ]
    before = [time.stamp(one) for one in epochs[:4]]
    pulsing.fetch()
    pulsing.at_s = 2
    time._pps = pulsing
    after = [time.stamp(one) for one in epochs[4:]]
    boots = [s.boot_ns for s in before + after]
    assert boots == sorted(set(boots))
    assert [s.utc_source for s in after if s.utc_ns is not None] == ["pps"] * 3
    assert after[-1].boot_ns == 2 * SECOND_NS + 7 * tenth_ns
    assert after[0].utc_ns is None  # a stamp that stands still is no evidence


def test_a_missing_pps_device_is_said_and_not_waited_for(tmp_path):
    assert EpochTime(str(tmp_path / "pps0")).open().startswith("none: ")


def test_both_clocks_are_read_to_some_microseconds():
    assert min(Clocks.now().uncertainty_ns for _ in range(20)) < 100_000
