"""What fits into a receiver's line, and what is refused before a device is touched."""

from __future__ import annotations

import pytest

from drivers.nmea_gps import NmeaGps
from drivers.nmea_options import Options
from drivers.receiver_setup import SENTENCE_BYTES, least_baud
from drivers.sim.nmea_render import Fix, render
from drivers.sim.receiver_unit import Ublox, Unit
from tests.drivers.receiver_bench import bench


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"baud": 0}, "baud is 0; must be 50 to 4000000 bits per second"),
        ({"sentences": ("RMC",)}, "sentences is .*; a receiver that is left alone"),
        ({"receiver": "ublox", "sentences": ("RMC", "XYZ")}, "sentences is .*; ublox can send"),
        ({"receiver": "mediatek", "sentences": ("RMC", "GNS")}, "sentences is .*; mediatek can"),
        ({"receiver": "ublox", "sentences": ("GGA", "GSA")}, "one of RMC, ZDA"),
        ({"receiver": "ublox", "sentences": ("ZDA", "GSA")}, "one of GGA, GLL, GNS, RMC"),
        ({"receiver": "ublox", "rate_hz": 3.0}, "rate_hz is 3; a receiver is set to 1 to 25 Hz"),
        ({"receiver": "ublox", "rate_hz": 50.0}, "rate_hz is 50;"),
        ({"receiver": "ublox", "rate_hz": 0.5}, "rate_hz is 0.5;"),
        ({"receiver": "ublox", "baud": 9600}, "baud is 9600; 10 Hz of .* need 34000"),
        ({"receiver": "ublox", "baud": 38_400, "rate_hz": 20.0}, "need 68000"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(options, text):
    with pytest.raises(ValueError, match=text):
        NmeaGps(device="/dev/none", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"receiver": "ublox", "baud": 9600, "rate_hz": 2.0},
        {"receiver": "ublox", "baud": 38_400},
        {"receiver": "ublox", "baud": 9600, "rate_hz": 5.0, "sentences": ("RMC", "GGA")},
        {"receiver": "mediatek", "rate_hz": 25.0},
    ],
)
def test_what_fits_is_taken(options):
    load = NmeaGps(device="/dev/none", **options).line_load()
    assert load is not None
    assert load <= 1


def test_the_load_of_a_line_is_its_epochs_bits_against_its_speed():
    assert least_baud(("RMC", "GGA"), 5.0) == (76 + 82) * 5 * 10
    assert Options(4800, 10.0).load(None) == 300 * 10 * 10 / 4800
    assert Options("auto", 10.0).load(None) is None
    assert Options("auto", 10.0, "ublox").load(None) == 340 * 100 / 115_200
    assert Options("auto", 10.0).load((480.0, 38_400)) == 480 * 100 / 38_400


def test_no_sentence_of_an_epoch_is_longer_than_it_is_reckoned_with():
    longest = Fix(
        1_750_507_200_000_000_000, -47.123456, -111.123456, 8848.88, 277.777, 359.99,
        -100.25, 24, 4, 12.34, 12.34, 12.34, (100.25, 100.25, 100.25),
    )  # fmt: skip
    for name, size in SENTENCE_BYTES.items():
        most = 2 * len(render(longest, (name,))) if name == "GSA" else len(render(longest, (name,)))
        assert most <= size + 6, name  # the model writes minutes and seconds a digit or two longer


@pytest.mark.parametrize("unit", [lambda: Unit(115_200), lambda: Ublox(18.0)])
def test_the_load_is_measured_once_epochs_come(tmp_path, unit):
    sentences = ("RMC", "GGA", "VTG", "GSA", "GSA")
    with (
        bench(tmp_path, unit(), sentences=sentences) as it,
        it.driver(receiver="leave" if type(it.unit) is Unit else "ublox") as driver,
    ):
        it.open(driver)
        it.samples(driver, 11)
        sizes = [sum(len(line) + 2 for line in e["lines"]) for e in it.log if e["heard"]]
        assert driver.line_load() == pytest.approx(sizes[-1] * 100 / 115_200, rel=0.1)
        assert driver.measured()["line_load"] == round(driver.line_load(), 3)
    assert driver.line_load() == pytest.approx(sizes[-1] * 100 / 115_200, rel=0.1)
