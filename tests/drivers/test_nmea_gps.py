from __future__ import annotations

import json
import math
import os
import struct
import threading
import time
import tty

import pytest

from drivers.base import (
    TYPES,
    BadSampleError,
    DeviceAbsentError,
    DeviceLostError,
    Sample,
    boot_ns,
)
from drivers.epoch_counter import Counter
from drivers.nmea import FIXES, Decoder
from drivers.nmea_gps import NmeaGps
from drivers.nmea_rows import NULL_UTC_NS
from drivers.sim.nmea_render import Fix, render
from drivers.sim.receiver import Receiver
from tests.known import known

START_NS = 1_750_507_195_000_000_000
PERIOD_NS = 100_000_000
BYTE_NS = 86_806  # at 115200 baud
DEADLINE_S = 10.0
ROW = struct.Struct("<" + "".join(TYPES[f.type[1:]] for f in NmeaGps.fields))
NAMES = [f.name for f in NmeaGps.fields]


def fix(n, **more):
    return Fix(START_NS + n * PERIOD_NS, 47.5 + n * 1e-5, -11.25, 512.5, 13.9, 45.0, **more)


def row(sample):
    assert sample.rows == 1
    (payload,) = sample.payload
    return dict(zip(NAMES, ROW.unpack(payload), strict=True))


@pytest.fixture
def line(request):
    """A driver (at 10 Hz, or as a test asks) on a pseudo-terminal, and the other end of it."""
    master, slave = os.openpty()
    tty.setraw(slave)
    driver = NmeaGps(
        device=os.ttyname(slave), baud=115_200, rate_hz=getattr(request, "param", 10.0)
    )
    driver.open()
    os.close(slave)
    yield master, driver
    driver.close()
    os.close(master)


def quiet(driver):
    """Let the driver see that the line is silent, so that the next epoch counts as whole."""
    assert driver.read(1 / driver.rate_hz) is None


def test_a_row_is_packed_as_the_fields_say(line):
    master, driver = line
    quiet(driver)
    os.write(master, render(fix(0)))
    values = row(driver.read(DEADLINE_S))
    assert values["utc_ns"] == START_NS
    assert values["position.x"] == pytest.approx(47.5, abs=1e-7)
    assert values["position.y"] == pytest.approx(-11.25, abs=1e-7)
    assert values["position.z"] == 512.5
    north_mps = 13.9 * math.cos(math.radians(45))
    assert values["velocity.x"] == pytest.approx(north_mps, abs=1e-3)
    assert values["velocity.y"] == pytest.approx(north_mps, abs=1e-3)
    assert values["status.status"] == 1
    assert values["status.satellites"] == 12
    assert FIXES[values["fix"]] == "3d"
    assert (values["sentences"], values["checksum_errors"]) == (4, 0)


def test_a_sample_carries_utc_and_the_number_of_its_period(line):
    master, driver = line
    quiet(driver)
    os.write(master, render(fix(3)))
    sample = driver.read(DEADLINE_S)
    assert sample.utc_ns == START_NS + 3 * PERIOD_NS
    assert sample.utc_uncertainty_ns == 100_000_000
    assert sample.counter == sample.utc_ns // PERIOD_NS


def test_without_a_fix_a_row_holds_nulls_and_never_zero(line):
    master, driver = line
    quiet(driver)
    os.write(master, render(Fix(START_NS)))
    sample = driver.read(DEADLINE_S)
    values = row(sample)
    floats = [values[f.name] for f in driver.fields if f.type == "<f8"]
    assert all(math.isnan(value) for value in floats)
    assert (values["fix"], values["status.status"], sample.utc_ns) == (0, 0, None)
    assert values["utc_ns"] == START_NS


def test_without_a_time_there_is_no_utc_and_no_number(line):
    master, driver = line
    quiet(driver)
    os.write(master, b"$GPRMC,,V,,,,,,,,,,N*53\r\n")
    sample = driver.read(DEADLINE_S)
    assert (sample.counter, sample.utc_ns, row(sample)["utc_ns"]) == (None, None, NULL_UTC_NS)


def test_an_epoch_in_many_pieces_is_one_sample_dated_by_its_first_byte(line):
    master, driver = line
    quiet(driver)
    data = render(fix(0))
    before_ns = boot_ns()
    os.write(master, data[:1])
    assert driver.read(0.001) is None
    after_ns = boot_ns()
    for begin in range(1, len(data), 50):
        os.write(master, data[begin : begin + 50])
        assert driver.read(0.0) is None
    sample = driver.read(DEADLINE_S)
    assert before_ns <= sample.boot_ns <= after_ns
    assert row(sample)["sentences"] == 4


def test_an_epoch_that_was_under_way_at_the_opening_is_dropped(line):
    master, driver = line
    os.write(master, render(fix(0))[30:] + render(fix(1)) + render(fix(2)))
    samples = [driver.read(DEADLINE_S), driver.read(DEADLINE_S)]
    assert driver.read(0.1) is None
    assert [s.utc_ns for s in samples] == [START_NS + n * PERIOD_NS for n in (1, 2)]


def test_a_damaged_line_is_counted_in_the_row_that_survives_it(line):
    master, driver = line
    quiet(driver)
    os.write(master, render(fix(0)).replace(b"GNRMC,1", b"GNRMC,2") + b"\xff\xfe\r\n")
    values = row(driver.read(DEADLINE_S))
    assert (values["checksum_errors"], values["sentences"]) == (2, 3)
    assert values["position.z"] == 512.5


def test_an_epoch_damaged_beyond_use_is_reported_once_and_reading_goes_on(line):
    master, driver = line
    quiet(driver)
    os.write(master, render(fix(0)).replace(b"GNRMC,", b"GNRMC,9").replace(b"GNGGA,", b"GNGGA,9"))
    with pytest.raises(BadSampleError, match="damaged beyond use") as error:
        driver.read(DEADLINE_S)
    assert error.value.samples == 0
    os.write(master, render(fix(1)))
    assert driver.read(DEADLINE_S).utc_ns == START_NS + PERIOD_NS


def test_a_receiver_that_pauses_in_mid_epoch_is_waited_for(line):
    master, driver = line
    quiet(driver)
    fixes = []
    for n in range(8):
        first, rest = render(fix(n)).split(b"\r\n", 1)
        os.write(master, first + b"\r\n")
        early = driver.read(0.05)  # a pause; at first it is taken for the epoch's end
        os.write(master, rest)
        sample = early or driver.read(DEADLINE_S)
        fixes.append(FIXES[row(sample)["fix"]])
        assert driver.read(0.0) is None
    assert fixes[-3:] == ["3d", "3d", "3d"]


def test_silence_is_no_error(line):
    _, driver = line
    assert driver.read(0.05) is None
    assert driver.read(0.0) is None


@pytest.mark.parametrize("line", [1.0], indirect=True)
def test_finish_waits_for_the_rest_of_the_epoch_and_no_longer(line):
    master, driver = line
    quiet(driver)
    data = render(fix(0))
    os.write(master, data[:100])
    assert driver.read(0.0) is None
    threading.Timer(0.01, os.write, (master, data[100:])).start()
    (sample,) = driver.finish()
    assert row(sample)["sentences"] == 4
    assert driver.finish() == []


def test_finish_gives_up_an_epoch_that_never_ends(line):
    master, driver = line
    quiet(driver)
    os.write(master, render(fix(0))[:30])
    assert driver.read(0.0) is None
    assert driver.finish() == []


def test_an_absent_device_is_absent_and_closing_it_is_fine(tmp_path):
    driver = NmeaGps(device=str(tmp_path / "gps"))
    driver.close()
    with pytest.raises(DeviceAbsentError, match="gps: no such device"):
        driver.open()
    driver.close()
    driver.close()
    with pytest.raises(DeviceLostError, match="not open"):
        driver.read(0.0)


def test_fields_are_unique_and_of_known_types():
    assert len(set(NAMES)) == len(NAMES)
    assert all(f.type[0] == "<" and f.type[1:] in TYPES for f in NmeaGps.fields)


# End to end: what the model sent is what the driver delivers


class Bench:
    def __init__(self, folder, fixes):
        self.link = folder / "gps"
        self._log = folder / "gps.jsonl"
        source = [(f.utc_ns, f.utc_ns - START_NS, render(f)) for f in fixes]
        self.receiver = Receiver(source, self.link, self._log)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.receiver.run, args=(self.stop,))
        self.thread.start()
        self.driver = NmeaGps(device=str(self.link), baud=115_200)
        self.open()

    def open(self):
        deadline_ns = boot_ns() + int(DEADLINE_S * 1e9)
        while True:
            try:
                return self.driver.open()
            except DeviceAbsentError:
                assert boot_ns() < deadline_ns
                self.stop.wait(0.005)

    def read_until(self, utc_ns):
        samples: list[Sample] = []
        while not samples or samples[-1].utc_ns != utc_ns:
            samples.append(known(self.driver.read(DEADLINE_S)))
        return samples

    def log(self, epochs):
        """Return the model's log once it has so many epochs: it is written behind the last byte."""
        deadline_ns = boot_ns() + int(DEADLINE_S * 1e9)
        while len(lines := self._log.read_text().splitlines()) < epochs:
            assert boot_ns() < deadline_ns
            self.stop.wait(0.005)
        return [json.loads(line) for line in lines]


@pytest.fixture
def play(tmp_path):
    benches = []

    def start(fixes):
        benches.append(Bench(tmp_path, fixes))
        return benches[-1]

    yield start
    for bench in benches:
        bench.driver.close()
        bench.stop.set()
        bench.thread.join(DEADLINE_S)
        assert not bench.thread.is_alive()


def told(entry):
    """What the model's log says of an epoch, by the decoder, as a row's values are named."""
    (epoch,) = (decoder := Decoder()).feed(
        "".join(f"{line}\r\n" for line in entry["lines"]).encode(), 0
    ) + decoder.flush()
    return (
        epoch.utc_ns,
        epoch.latitude_deg,
        epoch.longitude_deg,
        epoch.altitude_m,
        epoch.speed_mps,
    )


def test_what_the_model_wrote_down_is_what_the_driver_delivers(play):
    fixes = [fix(n) if n % 5 else Fix(START_NS + n * PERIOD_NS) for n in range(1, 21)]
    fixes[-1] = fix(20)
    bench = play(fixes)
    samples = bench.read_until(START_NS + 20 * PERIOD_NS)
    log = bench.log(len(fixes))
    assert len(samples) == len(log) == len(fixes)
    assert [s.counter for s in samples] == [f.utc_ns // PERIOD_NS for f in fixes]
    for sample, entry, truth in zip(samples, log, fixes, strict=True):
        values = row(sample)
        assert values["utc_ns"] == entry["utc_ns"] == truth.utc_ns
        assert values["sentences"] == len(entry["lines"])
        assert values["checksum_errors"] == 0
        delivered = (
            values["utc_ns"], values["position.x"], values["position.y"], values["position.z"],
            values["speed_mps"],
        )  # fmt: skip
        assert delivered == pytest.approx(
            tuple(math.nan if v is None else v for v in told(entry)), nan_ok=True, rel=0, abs=0
        )
        if truth.latitude_deg is not None:
            assert values["position.x"] == pytest.approx(truth.latitude_deg, abs=1e-7)
            assert values["velocity.x"] == pytest.approx(13.9 * math.sqrt(0.5), abs=2e-3)
        # No byte is read before it was sent, and dated back by the length of its epoch at most.
        assert entry["boot_ns"] - len(render(truth)) * BYTE_NS <= sample.boot_ns <= boot_ns()


def test_epochs_that_waited_in_the_kernel_are_dated_by_what_the_receiver_says(play):
    fixes = [fix(n) for n in range(1, 31)]
    bench = play(fixes)
    before = bench.read_until(START_NS + 10 * PERIOD_NS)
    deadline_ns = before[-1].boot_ns + 10 * PERIOD_NS
    while boot_ns() < deadline_ns:
        time.sleep(0.05)  # nobody reads: the process is held up
    after = bench.read_until(START_NS + 30 * PERIOD_NS)
    assert [s.counter for s in before + after] == [f.utc_ns // PERIOD_NS for f in fixes]
    stamps = [sample.boot_ns for sample in before + after]
    assert stamps == sorted(stamps)
    for sample, entry in zip(before + after, bench.log(len(fixes)), strict=True):
        assert abs(sample.boot_ns - entry["due_ns"]) < 100_000_000


def test_skipped_epochs_show_as_a_gap_of_the_counter(play):
    bench = play([fix(n) for n in range(9)])
    first = bench.read_until(START_NS + PERIOD_NS)
    bench.receiver.fault("drop_epochs", n=3)
    rest = bench.read_until(START_NS + 8 * PERIOD_NS)
    counters = [s.counter for s in first + rest]
    missing = counters[-1] - counters[0] + 1 - len(counters)
    assert missing == 3 == sum(not e["heard"] for e in bench.log(9))


def test_garbage_and_a_flipped_bit_cost_no_epoch(play):
    bench = play([fix(n) for n in range(6)])
    bench.receiver.fault("garbage", data=b"\xb5\x62\x01\x07$GPXX\x00\xff")
    bench.receiver.fault("flip")
    samples = bench.read_until(START_NS + 5 * PERIOD_NS)
    errors = [row(s)["checksum_errors"] for s in samples]
    faulty = [bool(e["faults"]) for e in bench.log(6)]
    assert [e > 0 for e in errors] == faulty
    assert faulty.count(True) == 1
    assert len(samples) == 6


def test_an_unplugged_receiver_is_lost_and_delivers_again_when_it_is_back(play):
    bench = play([fix(n) for n in range(12)])
    before = bench.read_until(START_NS + PERIOD_NS)
    bench.receiver.fault("unplug", seconds=0.3)
    with pytest.raises(DeviceLostError, match="gone"):
        bench.read_until(None)
    bench.driver.close()
    bench.open()
    after = bench.read_until(START_NS + 11 * PERIOD_NS)
    heard = [e["utc_ns"] for e in bench.log(12) if e["heard"]]
    delivered = [s.utc_ns for s in before + after]
    # What begins less than a silence after the opening is not known to be whole.
    assert [t for t in heard if t in delivered] == delivered
    assert len(heard) - len(delivered) <= 1
    assert after[-1].counter - before[0].counter == 11


# Numbers of epochs


def numbering(rate_hz):
    """Return what numbers epochs that have a time."""
    counter = Counter(rate_hz)
    return lambda utc_ns, at_ns: known(counter.number(utc_ns, at_ns))


def test_epochs_off_the_grid_are_numbered_without_a_gap():
    number = numbering(1.0)
    times_ns = [1_000_499_000_000, 1_001_501_000_000, 1_002_499_000_000, 1_003_500_000_000]
    numbers = [number(t, t) for t in times_ns]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


@pytest.mark.parametrize("jump_s", [1024 * 7 * 86400, -1024 * 7 * 86400, 2, -2, -0.1])
def test_a_jump_of_the_receivers_time_is_no_loss(jump_s):
    number = numbering(10.0)
    before = [number(START_NS + n * PERIOD_NS, n * PERIOD_NS) for n in range(3)]
    after = [
        number(START_NS + n * PERIOD_NS + int(jump_s * 1e9), n * PERIOD_NS) for n in range(3, 6)
    ]
    assert [n - before[0] for n in before + after] == [0, 1, 2, 3, 4, 5]


def test_a_real_loss_is_counted_though_the_process_was_held_up_before_it():
    number = numbering(10.0)
    first = number(START_NS, 0)
    # Held up for 3 s: 14 epochs waited in the kernel, the rest of the 30 was lost.
    late = [number(START_NS + n * PERIOD_NS, 3_000_000_000 + n) for n in range(1, 15)]
    on_time = number(START_NS + 31 * PERIOD_NS, 31 * PERIOD_NS)
    assert [n - first for n in late] == list(range(1, 15))
    assert on_time - first == 31


def test_a_slewed_clock_is_no_jump_in_a_day():
    number = numbering(1.0)
    numbers = [
        number(START_NS + n * 1_000_000_000, int(n * 1_000_000_000 * 0.9999))
        for n in range(0, 86_400, 10)
    ]
    assert numbers[-1] - numbers[0] == 86_390


def test_no_utc_has_no_number():
    assert Counter(10.0).number(None, 5) is None


# What comes beside the fixes


def lines_of(samples):
    return [sample.payload[0] for sample in samples]


def test_raw_lines_come_as_they_were_sent_refused_ones_too():
    master, slave = os.openpty()
    tty.setraw(slave)
    with NmeaGps(device=os.ttyname(slave), baud=115_200, raw=True) as driver:
        driver.open()
        os.close(slave)
        quiet(driver)
        data = render(fix(0)).replace(b"GNGGA,1", b"GNGGA,2") + b"\xb5\x62\x01$GP\xff\r\n"
        os.write(master, data)
        assert driver.read(DEADLINE_S)
        samples = driver.take_beside()
        expected = [*data.split(b"\r\n")[:4], b"$GP\\xff"]
        assert lines_of(samples) == expected
        assert [s.counter for s in samples] == [0, 1, 2, 3, 4]
        assert {s.rows for s in samples} == {1}
        assert [s.boot_ns for s in samples] == sorted(s.boot_ns for s in samples)
        assert driver.take_beside() == ()
        os.write(master, render(fix(1)))
        assert driver.read(DEADLINE_S)
        assert [s.counter for s in driver.take_beside()] == [5, 6, 7, 8]
    os.close(master)


def test_lines_that_came_before_the_port_was_lost_are_not_lost_with_it():
    master, slave = os.openpty()
    tty.setraw(slave)
    with NmeaGps(device=os.ttyname(slave), baud=115_200, raw=True) as driver:
        driver.open()
        os.close(slave)
        os.write(master, render(fix(0))[:-80])
        assert driver.read(0.01) is None
        os.close(master)
        with pytest.raises(DeviceLostError):
            driver.read(DEADLINE_S)
        driver.close()
        whole = render(fix(0))[:-80].split(b"\r\n")[:-1]
        assert lines_of(driver.take_beside()) == whole


def test_without_raw_nothing_is_kept(line):
    master, driver = line
    quiet(driver)
    os.write(master, render(fix(0)))
    assert driver.read(DEADLINE_S)
    assert driver.beside is None
    assert driver.take_beside() == ()


def test_a_second_pulse_that_is_missing_is_said_and_the_fixes_come(tmp_path):
    master, slave = os.openpty()
    tty.setraw(slave)
    missing = str(tmp_path / "pps0")
    with NmeaGps(device=os.ttyname(slave), baud=115_200, pps=missing) as driver:
        device = driver.open()
        os.close(slave)
        assert device.interface["pps"] == f"none: {missing}: No such file or directory"
        quiet(driver)
        os.write(master, render(fix(0)))
        assert known(driver.read(DEADLINE_S)).utc_source == "gps"
    os.close(master)
