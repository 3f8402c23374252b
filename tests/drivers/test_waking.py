"""What drivers leave undone so that a process sleeps: looks, questions, and pieces of lines."""

from __future__ import annotations

import collections
import dataclasses
import os
import random
import threading
import time
import tty

from drivers.fifo_clock import FifoClock
from drivers.nmea_gps import NmeaGps
from drivers.sim.mpu6050_chip import FIFO_COUNTH, INT_STATUS, Mpu6050Chip
from drivers.sim.nmea_render import render
from tests.drivers.imus import KINDS, Bench, read_rows
from tests.drivers.receiver_bench import PERIOD_NS, fix
from tests.drivers.test_fifo_clock import START_NS, TOLERANCE, TrueClock
from tests.known import known

BURST = 36


def looks_per_burst(late_ns: tuple[int, int], lasts_ns: tuple[int, int]) -> float:
    """Look at a FIFO of 1 kHz for 20 s, and return how many looks a burst then took."""
    dice = random.Random(1)
    true = TrueClock(1000.0, 0.004, 0.3)
    clock = FifoClock(1000.0, TOLERANCE)
    clock.start(0, START_NS, START_NS)
    now_ns, number, looks = START_NS, 0, 0
    while now_ns < START_NS + 30_000_000_000:
        awaited_ns = clock.aim_ns(number + clock.reach(BURST) - 1)
        before_ns = max(now_ns, round(awaited_ns) + dice.randrange(*late_ns))
        now_ns = before_ns + dice.randrange(*lasts_ns)
        number = true.taken(before_ns + (now_ns - before_ns) * dice.random())
        clock.look(number, before_ns, now_ns)
        looks += now_ns > START_NS + 20_000_000_000
    return looks / (10_000 * 1.004 / BURST)


def test_one_look_is_enough_for_a_burst_though_who_looks_wakes_late_and_looks_slowly():
    assert looks_per_burst((50_000, 100_000), (50_000, 100_000)) < 1.05
    assert looks_per_burst((150_000, 300_000), (300_000, 500_000)) < 1.15


class Asked(Mpu6050Chip):
    """Counts what it is asked for."""

    def _power_up(self) -> None:
        self.asked: collections.Counter[int] = collections.Counter()
        super()._power_up()

    def _load(self, register: int) -> int:
        self.asked[register] += 1
        return super()._load(register)


def test_a_fifo_with_room_is_not_asked_whether_it_has_overflown(tmp_path):
    imu = Bench(dataclasses.replace(KINDS["mpu6050"], chip=Asked), tmp_path)
    with imu.driver(rate_hz=100) as driver:
        driver.open()
        read_rows(driver, 100)
    imu.stop()
    assert isinstance(imu.chip, Asked)
    assert imu.chip.asked[FIFO_COUNTH] > 10
    assert imu.chip.asked[INT_STATUS] < imu.chip.asked[FIFO_COUNTH] / 2


def test_the_pieces_of_a_known_epoch_do_not_each_wake_the_reader(monkeypatch):
    master, slave = os.openpty()
    tty.setraw(slave)
    with NmeaGps(device=os.ttyname(slave), baud=38_400, rate_hz=10.0) as driver:
        driver.open()
        os.close(slave)
        assert driver.read(0.1) is None
        for number in range(4):
            os.write(master, render(fix(number)))
            assert known(driver.read(5.0)).utc_ns == fix(number).utc_ns
        epoch = render(fix(4))
        pieces = [epoch[begin : begin + 8] for begin in range(0, len(epoch), 8)]
        heard: list[bytes] = []
        hear = known(driver._link).hear

        def listen(timeout_s: float) -> bytes:
            heard.append(hear(timeout_s))
            return heard[-1]

        monkeypatch.setattr(driver._link, "hear", listen)

        def play() -> None:
            for piece in pieces:
                os.write(master, piece)
                time.sleep(0.002)

        player = threading.Thread(target=play)
        player.start()
        sample = known(driver.read(5.0))
        player.join(5)
    os.close(master)
    assert sample.utc_ns == fix(3).utc_ns + PERIOD_NS
    assert b"".join(heard) == epoch
    assert len(heard) < len(pieces) / 2
