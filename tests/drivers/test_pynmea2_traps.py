"""What pynmea2 does to those who take its values as they are, and what is recorded instead.

Each test shows the trap itself first: when a later pynmea2 closes it, the test says so.
"""

from __future__ import annotations

import pynmea2
import pytest

from drivers.nmea import Decoder
from drivers.nmea_sentence import parse
from drivers.sim.nmea_render import seal
from tests.known import known

RMC = "GNRMC,120000.00,A,4730.0000,N,01115.0000,E,10.0,90.0,210625,,,A"
GGA = "GNGGA,120000.00,4730.0000,N,01115.0000,E,1,09,0.90,500.5,M,47.0,M,,"


def text(body):
    return seal(body).decode().strip()


def epochs(*lines):
    decoder = Decoder()
    return decoder.feed(b"".join(lines), 0) + decoder.flush()


def test_a_missing_checksum_is_accepted_there_and_refused_here():
    line = f"${GGA}"
    assert pynmea2.parse(line).num_sats == "09"
    assert parse(line.encode()) is None


def test_a_checksum_of_a_sign_and_a_digit_is_no_checksum():
    # `+0` is what int() takes for 0, and an XOR of 0 is what two equal halves have.
    assert int("+0", 16) == 0
    body = b"GPAAAA"  # an even number of equal letters behind two that are in there twice
    assert parse(b"$" + body + b"*+0") is None


def test_a_conversion_that_fails_leaves_the_text_there_and_nothing_here():
    leap = RMC.replace("120000.00", "235960.00")
    assert pynmea2.parse(text(leap)).timestamp == "235960.00"
    assert known(parse(seal(leap))).time_ns == 86_400_000_000_000
    assert pynmea2.parse(text(GGA.replace(",1,09", ",X,09"))).gps_qual == "X"
    assert known(parse(seal(GGA.replace(",1,09", ",X,09")))).quality is None
    assert pynmea2.parse(text(GGA.replace("500.5", "5OO.5"))).altitude == "5OO.5"
    assert known(parse(seal(GGA.replace("500.5", "5OO.5")))).altitude_m is None


def test_an_empty_position_is_zero_there_and_unknown_here():
    empty = "GNGGA,120000.00,,,,,0,00,99.99,,,,,,"
    sentence = pynmea2.parse(text(empty))
    assert (sentence.latitude, sentence.longitude) == (0.0, 0.0)
    ours = known(parse(seal(empty)))
    assert (ours.latitude_deg, ours.longitude_deg) == (None, None)


def test_degrees_without_decimals_raise_there_on_access_and_are_read_here():
    short = GGA.replace("4730.0000", "4730")
    sentence = pynmea2.parse(text(short))
    with pytest.raises(ValueError, match="4730"):
        _ = sentence.latitude
    assert known(parse(seal(short))).latitude_deg == 47.5


def test_an_unknown_kind_raises_there_and_is_passed_over_here():
    with pytest.raises(pynmea2.ParseError):
        pynmea2.parse(text("GNXYZ,1,2"))
    (epoch,) = epochs(seal(RMC), seal("GNXYZ,1,2"), seal(GGA))
    assert (epoch.sentences, epoch.checksum_errors, epoch.fix) == (3, 0, "3d")


def test_a_void_rmc_parses_there_like_a_valid_one_and_is_no_fix_here():
    void = RMC.replace(",A,4730", ",V,4730")
    assert pynmea2.parse(text(void)).latitude == 47.5
    (epoch,) = epochs(seal(void))
    assert (epoch.fix, epoch.latitude_deg, epoch.speed_mps) == ("none", None, None)


@pytest.mark.parametrize(("digits", "theirs", "ours"), [("80", 1980, 1980), ("68", 2068, 2068)])
def test_two_digit_years_follow_the_pivot_of_gps_and_not_that_of_the_library(digits, theirs, ours):
    body = RMC.replace("210625", "2106" + digits)
    assert pynmea2.parse(text(body)).datestamp.year == theirs
    days = known(known(parse(seal(body))).day)
    assert days // 365.25 + 1970 == pytest.approx(ours, abs=1)


def test_a_year_of_the_seventies_is_of_the_last_century_there_and_of_this_one_here():
    body = RMC.replace("210625", "210671")
    assert pynmea2.parse(text(body)).datestamp.year == 1971
    assert known(known(parse(seal(body))).day) > 36_500


def test_a_fraction_of_a_second_is_cut_there_and_exact_here():
    body = RMC.replace("120000.00", "120000.123456789")
    assert pynmea2.parse(text(body)).timestamp.microsecond == 123_456
    assert known(known(parse(seal(body))).time_ns) % 1_000_000_000 == 123_456_789


@pytest.mark.parametrize("body", ["+0000", "+0000,A,4730.0,N", "GPRMC+0000,1", "gprmc,1", ",,,"])
def test_garbage_with_a_right_checksum_is_no_sentence(body):
    assert parse(seal(body)) is None
    (epoch,) = epochs(seal(RMC), seal(body), seal(GGA))
    assert (epoch.sentences, epoch.checksum_errors) == (2, 1)


def test_signed_garbage_in_the_fields_of_a_right_sentence_is_no_fix():
    fields = ",".join(["+0000"] * 13)
    for name in ("RMC", "GGA", "GNS", "GLL"):
        (epoch,) = epochs(seal(f"GP{name},{fields}"))
        assert (epoch.fix, epoch.utc_ns, epoch.latitude_deg, epoch.altitude_m) == (
            "none", None, None, None
        )  # fmt: skip
