from __future__ import annotations

import json
import os
import select
import termios
import threading
import tty
from contextlib import contextmanager

import pytest

from drivers import pmtk, ubx
from drivers.base import boot_ns
from drivers.nmea import Decoder
from drivers.sim.nmea_log import usual_rate_hz
from drivers.sim.nmea_render import Fix, render, seal
from drivers.sim.receiver import POWER_ON_NS, Burst, Receiver, log_epochs
from drivers.sim.receiver_unit import MediaTek, Ublox
from tests.known import known

PERIOD_NS = 20_000_000
DEADLINE_S = 10.0
BURSTS = [
    Burst(n * PERIOD_NS, n * PERIOD_NS, seal(f"GPRMC,{n:06d}.00,V") + seal(f"GPGGA,{n:06d}.00"))
    for n in range(20)
]


SPEEDS = {9600: termios.B9600, 38_400: termios.B38400, 115_200: termios.B115200}


def set_speed(listener, baud):
    settings = termios.tcgetattr(listener)
    settings[4] = settings[5] = SPEEDS[baud]
    termios.tcsetattr(listener, termios.TCSANOW, settings)


class Bench:
    """A receiver that runs in a thread, and what it wrote down."""

    def __init__(self, folder, source=BURSTS, baud=115_200, unit=None):
        self._baud = baud
        self.link = folder / "gps"
        self._log = folder / "gps.jsonl"
        self.stop = threading.Event()
        self.receiver = Receiver(source, self.link, self._log, baud, unit)
        self.thread = threading.Thread(target=self.receiver.run, args=(self.stop,))

    def open(self):
        self.until(self.link.exists)
        listener = os.open(self.link, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(listener)
        set_speed(listener, self._baud)
        return listener

    def until(self, happened):
        deadline_ns = boot_ns() + int(DEADLINE_S * 1e9)
        while not happened():
            assert boot_ns() < deadline_ns, "it did not happen in time"
            self.stop.wait(0.005)

    @property
    def log(self):
        text = self._log.read_text() if self._log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def played(self, epochs):
        self.until(lambda: len(self.log) >= epochs)


@contextmanager
def playing(folder, *args, **kwargs):
    bench = Bench(folder, *args, **kwargs)
    bench.thread.start()
    try:
        yield bench
    finally:
        bench.stop.set()
        bench.thread.join(DEADLINE_S)
        assert not bench.thread.is_alive()


def received(listener, size_bytes):
    data = b""
    while len(data) < size_bytes:
        assert select.select([listener], [], [], DEADLINE_S)[0], "no more bytes"
        more = os.read(listener, size_bytes - len(data))
        if not more:
            raise EOFError("the terminal has hung up")
        data += more
    return data


def test_every_byte_arrives_and_the_log_says_so(tmp_path):
    with playing(tmp_path) as bench:
        listener = bench.open()
        assert received(listener, sum(len(b.data) for b in BURSTS)) == b"".join(
            b.data for b in BURSTS
        )
        bench.played(len(BURSTS))
        os.close(listener)
        assert [e["lines"] for e in bench.log] == [b.data.decode().splitlines() for b in BURSTS]
        assert [e["epoch"] for e in bench.log] == list(range(len(BURSTS)))
        assert [e["utc_ns"] for e in bench.log] == [b.utc_ns for b in BURSTS]
        assert all(e["heard"] and not e["faults"] for e in bench.log)


def test_play_begins_after_the_first_listener_and_keeps_its_pace(tmp_path):
    with playing(tmp_path, BURSTS[:4]) as bench:
        bench.until(bench.link.exists)
        starts_ns = [bench.receiver.start_ns]
        opened_ns = boot_ns()
        listener = bench.open()
        bench.played(4)
        os.close(listener)
        assert starts_ns == [None]
        start_ns = known(bench.receiver.start_ns)
        assert start_ns - opened_ns >= POWER_ON_NS
        for burst, entry in zip(BURSTS, bench.log, strict=False):
            assert entry["boot_ns"] >= start_ns + burst.offset_ns


def test_bytes_leave_no_faster_than_the_line_carries_them(tmp_path):
    burst = Burst(None, 0, b"x" * 96)
    with playing(tmp_path, [burst, burst], baud=9600) as bench:
        listener = bench.open()
        bench.played(2)
        os.close(listener)
        first, second = bench.log
        assert first["end_boot_ns"] - bench.receiver.start_ns >= 100_000_000
        assert second["boot_ns"] >= first["end_boot_ns"]


def test_what_nobody_listens_to_is_thrown_away_and_time_goes_on(tmp_path):
    with playing(tmp_path) as bench:
        first_listener = bench.open()
        bench.until(lambda: bench.receiver.start_ns is not None)
        os.close(first_listener)
        bench.played(8)
        listener = bench.open()
        first = received(listener, 1)
        bench.played(len(BURSTS))
        heard = [e["epoch"] for e in bench.log if e["heard"]]
        os.close(listener)
        assert first
        assert heard == list(range(heard[0], len(BURSTS)))
        assert heard[0] >= 8


def test_silence_skipping_and_a_flipped_bit_are_as_asked_and_written_down(tmp_path):
    with playing(tmp_path) as bench:
        listener = bench.open()
        bench.receiver.fault("drop_epochs", n=2)
        bench.receiver.fault("flip")
        data = received(listener, sum(len(b.data) for b in BURSTS[2:]))
        bench.played(len(BURSTS))
        os.close(listener)
        log = bench.log
    assert [e["faults"] for e in log[:4]] == [["drop_epochs"], ["drop_epochs"], ["flip"], []]
    assert [e["heard"] for e in log[:4]] == [False, False, True, True]
    meant = b"".join(b.data for b in BURSTS[2:])
    wrong = [(a ^ b) for a, b in zip(data, meant, strict=True) if a != b]
    assert [bits.bit_count() for bits in wrong] == [1]
    assert log[2]["lines"] == BURSTS[2].data.decode().splitlines()


def test_who_listens_at_another_speed_gets_noise_and_the_log_says_so(tmp_path):
    with playing(tmp_path) as bench:
        listener = bench.open()
        set_speed(listener, 9600)
        bench.played(5)
        set_speed(listener, 115_200)
        termios.tcflush(listener, termios.TCIFLUSH)
        data = received(listener, 200)
        bench.played(len(BURSTS))
        os.close(listener)
        heard = [e["heard"] for e in bench.log]
    assert not any(heard[:5])
    assert all(heard[-5:])
    assert BURSTS[10].data[:20] in data or BURSTS[6].data[:6] in data


def test_noise_is_never_a_sentence(tmp_path):
    with playing(tmp_path) as bench:
        listener = bench.open()
        set_speed(listener, 38_400)
        bench.played(len(BURSTS))
        decoder = Decoder()
        decoder.feed(os.read(listener, 4096), 0)
        os.close(listener)
    assert decoder.sentences == 0


def test_what_is_said_at_another_speed_is_not_understood(tmp_path):
    unit = Ublox(18.0)
    rate = ubx.settings(("RMC",), 100, 9600, by_keys=False)[-2]
    with playing(tmp_path, unit=unit, baud=115_200) as bench:
        listener = bench.open()
        os.write(listener, rate)
        bench.played(0)
        bench.until(lambda: bench.receiver.start_ns is not None)
        bench.stop.wait(0.1)
        assert unit.period_ms == 1000
        set_speed(listener, 9600)
        os.write(listener, rate)
        bench.until(lambda: unit.period_ms == 100)
        os.close(listener)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (ubx.frame((0x06, 0x99)), ubx.frame(ubx.NAK, b"\x06\x99")),
        (ubx.frame(ubx.CFG_VALSET, bytes(4)), ubx.frame(ubx.NAK, b"\x06\x8a")),
        (ubx.frame(ubx.CFG_RATE, b"\x01"), ubx.frame(ubx.NAK, b"\x06\x08")),
        (ubx.frame(ubx.CFG_MSG, b"\xf0\x63\x01"), ubx.frame(ubx.NAK, b"\x06\x01")),
        (ubx.frame(ubx.CFG_MSG, b"\xf0\x07\x01"), ubx.frame(ubx.ACK, b"\x06\x01")),
    ],
)
def test_a_ublox_acknowledges_what_it_knows_and_nothing_else(message, answer):
    assert Ublox(18.0).hear(b"noise" + message) == answer


def test_a_mediatek_says_what_it_does_not_support():
    unit = MediaTek()
    assert unit.hear(pmtk.command("999")) == pmtk.command("001", "999", "1")
    assert unit.hear(pmtk.command("314", 1, 2)) == pmtk.command("001", "314", "1")
    assert unit.hear(pmtk.command("220", 200)) == pmtk.command("001", "220", "3")
    assert unit.hear(b"$GPGGA,1*00\r\n") == b""
    assert unit.period_ms == 200


@pytest.mark.parametrize("unit", [Ublox(18.0), Ublox(32.0), MediaTek()])
def test_a_receiver_without_power_forgets(unit):
    factory = (unit.baud, unit.period_ms, unit.sentences, unit.model)
    unit.baud, unit.period_ms, unit.sentences, unit.model = 1, 2, frozenset(), 4
    unit.power_on()
    assert (unit.baud, unit.period_ms, unit.sentences, unit.model) == factory
    assert unit.greeting()


def test_silence_lasts_as_long_as_asked(tmp_path):
    with playing(tmp_path) as bench:
        bench.receiver.fault("silence", seconds=POWER_ON_NS / 1e9 + 0.2)
        listener = bench.open()
        bench.played(len(BURSTS))
        os.close(listener)
        faults = [e["faults"] for e in bench.log]
    silent = faults.count(["silence"])
    assert 0 < silent < len(BURSTS)
    assert faults == [["silence"]] * silent + [[]] * (len(BURSTS) - silent)


def test_garbage_stands_between_two_sentences(tmp_path):
    with playing(tmp_path, BURSTS[:1]) as bench:
        bench.receiver.fault("garbage", data=b"\xb5\x62$")
        listener = bench.open()
        first, second = BURSTS[0].data.splitlines(keepends=True)
        assert received(listener, len(BURSTS[0].data) + 3) == first + b"\xb5\x62$" + second
        os.close(listener)


def test_unplugged_the_terminal_is_gone_and_comes_back_under_the_same_link(tmp_path):
    with playing(tmp_path) as bench:
        listener = bench.open()
        received(listener, 1)
        old = os.ttyname(listener)
        bench.receiver.fault("unplug", seconds=0.1)
        with pytest.raises(EOFError):
            received(listener, sum(len(b.data) for b in BURSTS))
        bench.until(lambda: bench.link.exists() and bench.link.resolve() != old)
        again = bench.open()
        assert received(again, 1)
        os.close(again)
        os.close(listener)


def test_an_unknown_fault_names_the_known_ones(tmp_path):
    receiver = Receiver([], tmp_path / "gps", tmp_path / "log")
    with pytest.raises(ValueError, match="fault 'melt': allowed are brown_out, deaf, drop_epochs"):
        receiver.fault("melt")


def test_a_receiver_nobody_opens_stops_when_told(tmp_path):
    with playing(tmp_path) as bench:
        bench.until(bench.link.exists)
    assert not bench.link.is_symlink()


def test_a_log_is_cut_where_the_time_changes_and_keeps_every_byte(tmp_path):
    log = tmp_path / "x.log"
    lines = [
        b"$GPGSV,1,1,00*79\r\n",
        b"$GPRMC,235959.50,A*00\r\n",
        b"$GPGLL,1,N,1,E,235959.504,A*00\r\n",
        b"garbage\xff\n",
        b"$GPGGA,000000.00,1*00\r\n",
        b"$GPGGA,000000.50,1*00\r\n",
        b"$GPGGA,000001.00,1*00\r\n",
        b"$GPGGA,120000.00,1*00",
    ]
    log.write_bytes(b"# comment\n" + b"".join(lines))
    bursts = log_epochs(log)
    assert [b.data for b in bursts] == [b"".join(lines[:4]), *lines[4:]]
    assert [b.offset_ns / 1e9 for b in bursts] == [0, 0.5, 1.0, 1.5, 2.0]
    assert usual_rate_hz(bursts) == 2.0


def test_rendered_minutes_never_reach_sixty():
    assert b",4800.000000,N," in render(Fix(0, 47.9999999999, 11.0))
    assert b",01059.999940,W," in render(Fix(0, -47.5, -10.999999))


def test_a_sentence_without_a_time_begins_an_epoch_where_its_kind_comes_again(tmp_path):
    line = seal("GPRMC,,V,,,,,,,,,,N")
    log = tmp_path / "cold.log"
    log.write_bytes(line * 2)
    assert [burst.data for burst in log_epochs(log)] == [line, line]
