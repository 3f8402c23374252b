"""Receivers that are told how to speak, of both makes and all generations, and that forget it."""

from __future__ import annotations

import itertools

import pytest

from drivers import nmea_link, pmtk, receiver_setup
from drivers.base import StillLookingError, WrongDeviceError
from drivers.nmea_rows import FIELDS, ROW
from drivers.sim import receiver as receiver_model
from drivers.sim.receiver_unit import MediaTek, Ublox, Unit
from drivers.ubx import AUTOMOTIVE
from tests.drivers.receiver_bench import PERIOD_NS, bench

UNITS = {
    "ublox 6": ("ublox", lambda: Ublox(14.0)),
    "ublox M8": ("ublox", lambda: Ublox(18.0)),
    "ublox M9": ("ublox", lambda: Ublox(32.01)),
    "ublox M10": ("ublox", lambda: Ublox(34.10)),
    "mediatek": ("mediatek", MediaTek),
}
by_make = pytest.mark.parametrize(("receiver", "unit"), UNITS.values(), ids=UNITS)
FEW = {name: UNITS[name] for name in ("ublox M8", "ublox M10", "mediatek")}
by_few = pytest.mark.parametrize(("receiver", "unit"), FEW.values(), ids=FEW)


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(receiver_model, "POWER_ON_NS", 200_000_000)
    monkeypatch.setattr(nmea_link, "SILENCE_PATIENCE_S", 1.5)
    monkeypatch.setattr(nmea_link, "GARBAGE_PATIENCE_S", 1.5)


def row(sample):
    return dict(zip((f.name for f in FIELDS), ROW.unpack(sample.payload[0]), strict=True))


def steps(samples):
    return [(b.utc_ns - a.utc_ns) // PERIOD_NS for a, b in itertools.pairwise(samples)]


@by_make
def test_a_receiver_from_the_factory_is_set_to_rate_sentences_and_speed(tmp_path, receiver, unit):
    with (
        bench(tmp_path, unit()) as it,
        it.driver(receiver=receiver, sentences=("RMC", "GGA", "GST")) as driver,
    ):
        device = it.open(driver)
        samples = it.samples(driver, 12)
        assert it.unit.baud == 115_200
        assert it.unit.period_ms == 100
        assert it.unit.sentences == {"RMC", "GGA", "GST"}
        assert it.unit.model == (AUTOMOTIVE if receiver == "ublox" else 0)
        assert steps(samples[1:]) == [1] * 10  # the first may be of the former rate
        assert row(samples[-1])["sentences"] == 3
        assert row(samples[-1])["sigma_longitude_m"] == 2.5
        assert device.interface["baud"] == "115200"
        assert device.vendor == {"ublox": "u-blox", "mediatek": "MediaTek"}[receiver]
        assert device.model.startswith("SIM")


@by_few
def test_what_is_not_heard_is_said_again(tmp_path, receiver, unit):
    with bench(tmp_path, unit()) as it, it.driver(receiver=receiver) as driver:
        it.receiver.fault("deaf", n=2)
        it.open(driver)
        assert steps(it.samples(driver, 5)[1:]) == [1] * 3


@by_few
def test_after_a_brown_out_it_is_found_and_set_up_again(tmp_path, receiver, unit):
    with bench(tmp_path, unit()) as it, it.driver(receiver=receiver) as driver:
        it.open(driver)
        it.samples(driver, 5)
        it.receiver.fault("brown_out")
        after = it.samples(driver, 5)
        while after[-1].utc_ns - after[-2].utc_ns != PERIOD_NS:
            after += it.samples(driver, 1)
        assert it.unit.powered == 2
        assert it.unit.period_ms == 100
        assert "no sentence" in it.refusals[0]  # the factory's speed is garbage at ours


def test_a_brown_out_that_keeps_the_speed_shows_as_a_low_rate_and_is_set_up_again(tmp_path):
    with (
        bench(tmp_path, Ublox(18.0)) as it,
        it.driver(receiver="ublox", baud=9600, rate_hz=2.0) as driver,
    ):
        it.open(driver)
        it.samples(driver, 4)
        it.receiver.fault("brown_out")
        after = it.samples(driver, 10)
        assert it.unit.period_ms == 500
        assert steps(after)[-1] == 5
        assert "has forgotten its set-up" in it.refusals[0]


def test_a_receiver_that_runs_as_configured_loses_no_epoch_by_being_opened_again(tmp_path):
    with bench(tmp_path, Ublox(32.0)) as it:
        with it.driver(receiver="ublox") as first:
            it.open(first)
            before = it.samples(first, 5)
        with it.driver(receiver="ublox") as second:
            it.open(second)
            after = it.samples(second, 5)
        # The one that was under way while nobody had the port, and the torn one of the opening.
        assert (after[0].utc_ns - before[-1].utc_ns) // PERIOD_NS <= 4
        assert it.unit.powered == 1


@by_few
def test_a_receiver_that_refuses_is_the_wrong_one_and_says_what_it_refused(
    tmp_path, receiver, unit
):
    with bench(tmp_path, unit()) as it, it.driver(receiver=receiver) as driver:
        it.receiver.fault("refuse")
        with pytest.raises(WrongDeviceError, match=r"refuses setting \w+: (NAK|failed)"):
            driver.open()


def test_an_acknowledge_that_came_damaged_is_none():
    find = receiver_setup.MediaTek().listen()
    refusal = pmtk.command("001", 220, 1)
    assert find(refusal.replace(b",1*", b",3*")) == []
    assert find(refusal) == [("refused", "220", "not supported")]


@pytest.mark.parametrize("unit", [lambda: Unit(9600), MediaTek], ids=["deaf", "mediatek"])
def test_a_receiver_of_another_make_is_the_wrong_one(tmp_path, unit):
    with (
        bench(tmp_path, unit(), sentences=("RMC",)) as it,
        it.driver(receiver="ublox", rate_hz=1.0) as driver,
        pytest.raises(WrongDeviceError, match="does not answer as a u-blox"),
    ):
        driver.open()


@pytest.mark.parametrize("protocol", [18.0, 32.0])
@pytest.mark.parametrize("mute", [{"sentences": frozenset()}, {"speaks_nmea": False}])
def test_a_silent_receiver_that_answers_is_set_up(tmp_path, protocol, mute):
    class Mute(Ublox):
        """One whose sentences were switched off by somebody."""

        def power_on(self):
            super().power_on()
            vars(self).update(mute)

    with bench(tmp_path, Mute(protocol)) as it, it.driver(receiver="ublox") as driver:
        it.open(driver)
        assert len(it.samples(driver, 3)) == 3


def test_nobody_at_the_other_end_is_said_with_the_rates_that_were_tried(tmp_path):
    with bench(tmp_path, Ublox(18.0)) as it, it.driver(receiver="ublox") as driver:
        it.receiver.fault("deaf", n=1000)
        it.receiver.fault("silence", seconds=1000)
        with pytest.raises(StillLookingError, match="other rates come next"):
            driver.open()
        with pytest.raises(WrongDeviceError, match=r"nothing answers at 4800, .* baud"):
            driver.open()
