"""The speed of a receiver's line: found, remembered, and found again; and what is said if not."""

from __future__ import annotations

import contextlib
import os
import threading
import tty

import pytest

from drivers import baud_search, nmea_link
from drivers.base import DeviceAbsentError, DeviceLostError, StillLookingError, WrongDeviceError
from drivers.baud_search import USUAL_BAUD, BaudSearch
from drivers.nmea_gps import NmeaGps
from drivers.nmea_link import describe
from drivers.sim import receiver
from drivers.sim.receiver_unit import Unit
from tests.drivers.receiver_bench import bench


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(receiver, "POWER_ON_NS", 200_000_000)
    monkeypatch.setattr(nmea_link, "SILENCE_PATIENCE_S", 1.0)
    monkeypatch.setattr(nmea_link, "GARBAGE_PATIENCE_S", 1.0)


@pytest.mark.parametrize("baud", sorted(USUAL_BAUD))
def test_each_usual_speed_is_found(tmp_path, baud):
    sentences = ("RMC",) if baud >= 9600 else ("GLL",)
    with bench(tmp_path, Unit(baud), sentences=sentences) as it, it.driver() as driver:
        assert it.open(driver).interface["baud"] == str(baud)
        assert it.samples(driver, 3)


def test_nothing_of_the_first_epoch_at_the_right_speed_is_lost(tmp_path):
    with bench(tmp_path, Unit(115_200)) as it, it.driver() as driver:
        it.open(driver)
        samples = it.samples(driver, 5)
        heard = [e["utc_ns"] for e in it.log if e["heard"]]
        # The first epoch that was heard from its first byte on, or one more if it was not known
        # to be whole.
        assert samples[0].utc_ns in heard[:2]


def test_the_speed_that_worked_last_is_tried_first(tmp_path):
    with bench(tmp_path, Unit(57_600), sentences=("RMC",)) as it, it.driver() as driver:
        it.open(driver)
        refusals = len(it.refusals)
        driver.close()
        it.open(driver)
        assert driver._search.next_baud == 57_600
        assert len(it.refusals) == refusals


def test_a_receiver_that_changes_its_speed_is_found_again(tmp_path):
    with bench(tmp_path, Unit(57_600), sentences=("RMC",)) as it, it.driver() as driver:
        it.open(driver)
        it.samples(driver, 3)
        it.unit.baud = 38_400
        it.samples(driver, 8)
        assert "at 57600 baud for 1 s no sentence" in it.refusals[-1] or len(it.refusals) > 1
        assert driver.open().interface["baud"] == "38400"


def test_a_silent_line_is_absent_and_is_looked_at_again(tmp_path):
    with bench(tmp_path, Unit(9600), sentences=("RMC",)) as it, it.driver() as driver:
        it.open(driver)
        it.samples(driver, 2)
        it.receiver.fault("silence", seconds=4.0)
        assert it.samples(driver, 12)
        assert any("not a byte" in text for text in it.refusals)


def test_rates_that_cannot_carry_the_epochs_come_last():
    assert BaudSearch(1.0, 1.0).next_baud == 9600
    assert BaudSearch(10.0, 10.0).next_baud == 9600
    assert BaudSearch(20.0, 1.0).next_baud == 115_200
    assert BaudSearch(20.0, 1.0, 4800).next_baud == 4800


def test_a_stated_speed_that_is_wrong_is_the_wrong_device_with_what_was_found(tmp_path):
    with bench(tmp_path, Unit(9600), sentences=("RMC",)) as it, it.driver(baud=115_200) as driver:
        driver.open()
        with pytest.raises(
            WrongDeviceError, match="at 115200 baud for 1 s no sentence, but bytes that are none"
        ):
            it.until_it_fails(driver)


@pytest.fixture
def talker():
    """Something that says the same again and again, whatever the speed."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    stop = threading.Event()
    threads = []

    def start(data):
        def talk():
            while not stop.wait(0.02):
                with contextlib.suppress(BlockingIOError):
                    os.write(master, data)

        threads.append(threading.Thread(target=talk))
        threads[0].start()
        return os.ttyname(slave)

    yield start
    stop.set()
    for thread in threads:
        thread.join()
    os.close(slave)
    os.close(master)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"AT+GCAP\r\n", "a modem"),
        (b"OK\r\n", "a modem"),
        (b"raspberrypi login: ", "a console"),
        (b"\xb5\x62\x01\x07\x5c\x00" + bytes(20), "u-blox binary"),
        (b"\xa0\xa2\x00\x12\x91", "SiRF binary"),
        (b"\xd3\x00\x13\x3e\xd7", "RTCM corrections only"),
        (b"\x00\x00\x00", "a line held low or high"),
        (b"$GPRMC,1,2,3\r\n", "bytes that are none"),
    ],
)
def test_what_is_no_receiver_is_the_wrong_device_and_said_to_be_what_it_looks_like(
    talker, data, name
):
    driver = NmeaGps(device=talker(data))
    with driver, pytest.raises(WrongDeviceError, match=f"no NMEA sentence at 4800, .*{name}"):
        driver.open()


def test_a_search_takes_its_time_in_several_calls_and_goes_on_where_it_stopped(talker, monkeypatch):
    monkeypatch.setattr(baud_search, "SEARCH_S", 0.5)
    driver = NmeaGps(device=talker(b"AT\r"))
    said: list[str] = []
    with driver:
        while not said or "next" in said[-1]:
            with pytest.raises((StillLookingError, WrongDeviceError)) as raised:
                driver.open()
            said.append(str(raised.value))
            assert len(said) < 10
    assert len(said) > 2
    assert "no NMEA sentence at 4800, 9600, 19200" in said[-1]


def test_a_search_says_all_the_while_that_it_goes_on(talker):
    driver = NmeaGps(device=talker(b""))  # a line without a byte
    signs: list[int] = []
    driver.still_opening = lambda: signs.append(1)
    with driver, pytest.raises(DeviceAbsentError, match=r"not a byte in 2\.5 s"):
        driver.open()
    assert len(signs) >= baud_search.SILENT_S / nmea_link.SIGN_S


def test_garbage_where_sentences_were_is_a_lost_device(tmp_path):
    with bench(tmp_path, Unit(115_200)) as it, it.driver(baud=115_200) as driver:
        it.open(driver)
        it.samples(driver, 2)
        it.unit.baud = 9600
        with pytest.raises(DeviceLostError, match="at 115200 baud for 1 s no sentence"):
            it.until_it_fails(driver)


def test_bytes_are_described_for_people():
    assert describe(b"\x80\x12$") == (
        r"bytes that are none: another speed, or another device (\x80\x12$)"
    )
