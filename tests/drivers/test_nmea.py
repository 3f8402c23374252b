from __future__ import annotations

import datetime
import itertools
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.nmea import FIXES, MOST_SENTENCES, Decoder, decode_file
from drivers.nmea_rows import pack
from drivers.nmea_sentence import parse
from drivers.sim.nmea_render import Fix, render, seal
from tests.known import known

KNOT_MPS = 1852 / 3600
NOON = "120000.00"
RMC = f"GNRMC,{NOON},A,4730.0000,N,01115.0000,E,10.0,90.0,210625,,,A"
GGA = f"GNGGA,{NOON},4730.0000,N,01115.0000,E,1,09,0.90,500.5,M,47.0,M,,"
GSA = "GNGSA,A,3,01,02,03,04,,,,,,,,,2.00,0.90,1.80,1"
VTG = "GNVTG,90.0,T,,M,10.0,N,18.52,K,A"


def utc_ns(year, month, day, *clock):
    midnight = datetime.datetime(year, month, day, tzinfo=datetime.timezone.utc)
    moment = datetime.datetime.combine(midnight, datetime.time(*clock), midnight.tzinfo)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (moment - epoch) // datetime.timedelta(microseconds=1) * 1000


def decode(*bodies):
    decoder = Decoder()
    data = b"".join(body if isinstance(body, bytes) else seal(body) for body in bodies)
    return decoder.feed(data, 0) + decoder.flush()


def one(*bodies):
    (epoch,) = decode(*bodies)
    return epoch


def at(body, time):
    return body.replace(NOON, time)


def test_a_date_that_no_clock_can_hold_is_none():
    for year in ("2300", "1677", "99999999999", "0000"):
        zda = f"GPZDA,{NOON},01,01,{year},00,00"
        (epoch,) = decode(zda, GGA)
        assert epoch.utc_ns is None
        assert epoch.latitude_deg == 47.5


def test_sentences_that_round_their_time_over_midnight_differently_are_one_epoch():
    epoch = one(at(RMC, "235959.999"), at(GGA, "000000.00"), GSA)
    assert epoch.fix == "3d"


# What an epoch says


def test_four_sentences_make_one_epoch_with_all_they_say():
    epoch = one(RMC, GGA, GSA, VTG)
    assert epoch.utc_ns == utc_ns(2025, 6, 21, 12)
    assert (epoch.latitude_deg, epoch.longitude_deg) == (47.5, 11.25)
    assert (epoch.altitude_m, epoch.geoid_separation_m) == (500.5, 47.0)
    assert epoch.speed_mps == pytest.approx(10 * KNOT_MPS)
    assert epoch.course_deg == 90
    assert (epoch.fix, epoch.quality, epoch.satellites) == ("3d", 1, 9)
    assert (epoch.pdop, epoch.hdop, epoch.vdop) == (2.0, 0.9, 1.8)
    assert (epoch.sentences, epoch.checksum_errors) == (4, 0)


def test_a_course_of_90_degrees_is_a_velocity_to_the_east():
    epoch = one(RMC)
    assert epoch.east_mps == pytest.approx(10 * KNOT_MPS)
    assert epoch.north_mps == pytest.approx(0, abs=1e-12)


def test_at_rest_the_velocity_is_zero_even_without_a_course():
    epoch = one(RMC.replace("10.0,90.0", "0.0,"))
    assert (epoch.north_mps, epoch.east_mps, epoch.course_deg) == (0, 0, None)


def test_a_speed_without_a_course_gives_no_velocity():
    epoch = one(RMC.replace("10.0,90.0", "0.1,"))
    assert (epoch.north_mps, epoch.east_mps) == (None, None)


def test_south_and_west_are_negative():
    epoch = one(GGA.replace(",N,", ",S,").replace(",E,", ",W,"))
    assert (epoch.latitude_deg, epoch.longitude_deg) == (-47.5, -11.25)


def test_each_kind_alone_gives_what_it_knows():
    assert one(at("GPGLL,4730.0000,N,01115.0000,E,120000.00,A,A", NOON)).latitude_deg == 47.5
    gns = one("GNGNS,120000.00,4730.0000,N,01115.0000,E,RR,17,0.6,500.5,47.0,,")
    assert (gns.fix, gns.satellites, gns.altitude_m, gns.hdop) == ("rtk", 17, 500.5, 0.6)
    assert decode("GPZDA,120000.00,21,06,2025,00,00") == []
    assert one(RMC.replace("10.0,90.0", ","), VTG).speed_mps == pytest.approx(10 * KNOT_MPS)


def test_speed_comes_in_km_h_where_knots_are_missing():
    epoch = one(RMC.replace("10.0,90.0", ","), "GNVTG,90.0,T,,M,,N,18.52,K,A")
    assert epoch.speed_mps == pytest.approx(18.52 / 3.6)


def test_constellations_come_from_talkers_systems_and_satellite_numbers():
    assert one(GGA.replace("GN", "GP", 1)).service == 1
    assert one(GGA, GSA, GSA[:-1] + "3").service == 1 | 8
    assert one(GGA, "GNGSA,A,3,01,70,,,,,,,,,,,2.0,0.9,1.8").service == 1 | 2
    assert one(GGA).service == 0


def test_a_gsa_with_24_satellites_has_its_dilutions_at_the_end():
    epoch = one(RMC, "GPGSA,A,3,23,13,07,25" + "," * 20 + ",09.2,07.2,05.7")
    assert (epoch.pdop, epoch.hdop, epoch.vdop) == (9.2, 7.2, 5.7)


@pytest.mark.parametrize(
    ("bodies", "fix"),
    [
        ((RMC, GGA, GSA), "3d"),
        ((RMC, GGA, GSA.replace("A,3", "A,2")), "2d"),
        ((GGA,), "3d"),
        ((RMC,), "2d"),
        ((GGA.replace("E,1,", "E,2,"),), "dgps"),
        ((GGA.replace("E,1,", "E,3,"),), "pps"),
        ((GGA.replace("E,1,", "E,4,"),), "rtk"),
        ((GGA.replace("E,1,", "E,5,"),), "float"),
        ((GGA.replace("E,1,", "E,6,"),), "estimated"),
        ((GGA.replace("E,1,", "E,8,"),), "simulator"),
        ((RMC[:-1] + "D",), "dgps"),
        ((RMC.replace(",A,47", ",V,47"), GGA), "none"),
        ((RMC, GGA.replace("E,1,", "E,0,")), "none"),
        ((RMC, GGA, GSA.replace("A,3", "A,1")), "none"),
        ((f"GNGGA,{NOON},,,,,1,09,0.90,500.5,M,47.0,M,,",), "none"),
    ],
)
def test_the_fix_is_named_by_the_table(bodies, fix):
    assert one(*bodies).fix == fix
    assert fix in FIXES


def test_no_fix_is_an_explicit_epoch_of_nulls():
    epoch = one(render(Fix(utc_ns(2025, 6, 21, 12))))
    assert (epoch.fix, epoch.quality) == ("none", 0)
    assert epoch.utc_ns == utc_ns(2025, 6, 21, 12)
    nulls = (
        epoch.latitude_deg, epoch.longitude_deg, epoch.altitude_m, epoch.speed_mps,
        epoch.course_deg, epoch.north_mps, epoch.east_mps, epoch.hdop, epoch.vdop, epoch.pdop,
    )  # fmt: skip
    assert nulls == (None,) * 10


def test_a_stale_position_beside_a_void_status_is_not_believed():
    gone = at(GGA, "120001.00").replace("E,1,", "E,0,")
    fixed, lost = decode(GGA, gone)
    assert fixed.latitude_deg == 47.5
    assert (lost.latitude_deg, lost.longitude_deg, lost.altitude_m) == (None, None, None)


# Dates


def test_a_date_is_carried_on_and_midnight_begins_the_next_day():
    late, early, next_one = decode(at(RMC, "235959.90"), at(GGA, "000000.00"), at(GGA, "000000.10"))
    assert late.utc_ns == utc_ns(2025, 6, 21, 23, 59, 59, 900_000)
    assert early.utc_ns == utc_ns(2025, 6, 22)
    assert next_one.utc_ns - early.utc_ns == 100_000_000


def test_a_sentence_from_before_midnight_does_not_begin_another_day():
    epochs = decode(at(RMC, "235959.00"), at(GGA, "000000.00"), at(GGA, "235959.50"))
    assert epochs[2].utc_ns == utc_ns(2025, 6, 21, 23, 59, 59, 500_000)


def test_a_date_that_comes_at_the_end_of_an_epoch_counts_for_all_of_it():
    assert one(GGA, RMC).utc_ns == one(RMC, GGA).utc_ns == utc_ns(2025, 6, 21, 12)


def test_the_four_digit_year_of_zda_goes_before_the_two_digits_of_rmc():
    epoch = one(RMC, "GPZDA,120000.00,21,06,2125,00,00")
    assert epoch.utc_ns == utc_ns(2125, 6, 21, 12)


@pytest.mark.parametrize(
    ("digits", "year"), [("80", 1980), ("99", 1999), ("00", 2000), ("79", 2079)]
)
def test_two_digit_years_from_80_on_are_of_the_last_century(digits, year):
    assert one(RMC.replace("210625", "2106" + digits)).utc_ns == utc_ns(year, 6, 21, 12)


@pytest.mark.parametrize("date", ["2208-1", "310225", "", "2106255", "000000"])
def test_an_impossible_date_gives_no_utc_but_a_position(date):
    epoch = one(RMC.replace("210625", date))
    assert (epoch.utc_ns, epoch.latitude_deg) == (None, 47.5)


def test_a_leap_second_has_no_utc_number_and_is_an_epoch_of_its_own():
    before, leap, after = decode(
        at(RMC, "235959.00"),
        at(RMC, "235960.00"),
        at(RMC, "000000.00").replace("210625", "220625"),
    )
    assert after.utc_ns - before.utc_ns == 1_000_000_000
    assert (leap.utc_ns, leap.latitude_deg) == (None, 47.5)


def test_fractions_of_a_second_are_exact():
    # by way of a binary fraction it may come out as 569999 us
    assert one(at(RMC, "120000.57")).utc_ns == utc_ns(2025, 6, 21, 12, 0, 0, 570_000)


# pynmea2's traps


@pytest.mark.parametrize(
    "line",
    [
        b"$" + GGA.encode() + b"\r\n",
        b"$" + GGA.encode() + b"*\r\n",
        b"$" + GGA.encode() + b"*+0\r\n",
        b"$" + GGA.encode() + b"*0\r\n",
        seal(GGA).replace(b"4730", b"4731"),
        b"$\xff*FF\r\n",
        b"$*00\r\n",
    ],
)
def test_a_sentence_without_a_right_checksum_is_refused_and_counted(line):
    epoch = one(RMC, line)
    assert (epoch.sentences, epoch.checksum_errors, epoch.satellites) == (1, 1, None)


def test_a_right_checksum_in_small_letters_is_right():
    assert one(seal(GGA).lower().replace(GGA.lower().encode(), GGA.encode())).latitude_deg == 47.5


def test_an_empty_position_is_none_and_not_zero():
    epoch = one(f"GNGGA,{NOON},,,,,0,00,99.99,,,,,,")
    assert (epoch.latitude_deg, epoch.longitude_deg) == (None, None)


def test_a_quality_that_is_no_number_is_no_quality():
    assert one(GGA.replace("E,1,", "E,X,")).fix == "none"


@pytest.mark.parametrize("field", ["nan", "inf", "1e5", "12..5", "--3", "X", "0x10"])
def test_a_number_that_cannot_be_read_is_none(field):
    assert one(GGA.replace("500.5", field)).altitude_m is None


def test_degrees_and_minutes_without_decimals_are_read():
    epoch = one(GGA.replace("4730.0000", "4730").replace("01115.0000", "01115."))
    assert (epoch.latitude_deg, epoch.longitude_deg) == (47.5, 11.25)


@pytest.mark.parametrize(
    "latitude", ["4760.0000,N", "9000.0001,N", "36000.0000,N", "4730.0000,", "4730.0000,E", "x,N"]
)
def test_a_position_that_cannot_be_is_none(latitude):
    assert one(GGA.replace("4730.0000,N", latitude)).fix == "none"


@pytest.mark.parametrize("time", ["240000.00", "126000.00", "120060.00", "1200", "12:00:00", ""])
def test_a_time_that_cannot_be_is_none(time):
    assert known(parse(seal(at(GGA, time)))).time_ns is None


def test_unknown_sentences_are_counted_and_cost_nothing():
    epoch = one(RMC, "GNXYZ,1,2", "PUBX,00,1", "LOG108,1", "GPGSV,1,1,00", "GPQ,RMC", GGA)
    assert (epoch.sentences, epoch.checksum_errors) == (7, 0)


def test_a_short_sentence_has_empty_fields():
    epoch = one(RMC, "GPGSA,A,3,,,,", "GPVTG", "GPGGA")
    assert epoch.fix == "3d"


# Where an epoch ends


def test_an_epoch_ends_before_another_time():
    decoder = Decoder()
    assert decoder.feed(seal(RMC) + seal(GGA), 0) == []
    (epoch,) = decoder.feed(seal(at(RMC, "120000.10")), 0)
    assert epoch.sentences == 2


def test_sentences_without_a_time_and_without_a_pause_are_not_gathered_for_ever():
    epochs = decode(*([GSA] * 10 * MOST_SENTENCES), RMC, at(RMC, "120000.10"))
    assert [epoch.utc_ns for epoch in epochs] == [
        utc_ns(2025, 6, 21, 12, 0, 0, us) for us in (0, 100_000)
    ]
    assert epochs[0].sentences <= MOST_SENTENCES


def test_times_that_a_receiver_rounds_differently_are_one_epoch():
    # a Magellan eXplorist 210: GLL with milliseconds, GGA and RMC rounded
    epoch = one("GPGLL,4730.0,N,01115.0,E,120000.295,A", at(GGA, "120000.30"), at(RMC, "120000.30"))
    assert epoch.utc_ns == utc_ns(2025, 6, 21, 12, 0, 0, 300_000)


def test_without_a_time_an_epoch_ends_where_its_first_kind_comes_again():
    bodies = ("GPRMC,,V,,,,,,,,,,N", "GPVTG,,,,,,,,,N", "GPGGA,,,,,,0,00,99.99,,,,,,")
    epochs = decode(*bodies, *bodies, *bodies)
    assert [(e.fix, e.utc_ns, e.sentences) for e in epochs] == [("none", None, 3)] * 3


def test_a_receiver_whose_clock_stands_still_gives_an_epoch_each_time():
    assert len(decode(RMC, GGA, RMC, GGA, RMC, GGA)) == 3


def test_the_last_sentence_is_learned_and_ends_the_epoch_at_once():
    decoder = Decoder()
    for tenth in range(5):  # three to learn, the last of them ended by the fourth
        time = f"120000.{tenth}0"
        last_but_one = decoder.feed(seal(at(RMC, time)) + seal(at(GGA, time)), 0)
        ended = decoder.feed(seal(VTG), 0)
    assert (len(last_but_one), len(ended)) == (0, 1)
    assert not decoder.is_under_way


def test_a_sentence_behind_the_learned_last_one_makes_no_epoch_and_undoes_the_learning():
    decoder = Decoder()
    for tenth in range(5):
        time = f"120000.{tenth}0"
        decoder.feed(seal(at(RMC, time)) + seal(at(GGA, time)), 0)
    assert decoder.feed(seal("GPGLL,4730.0,N,01115.0,E,120000.40,A"), 0) == []
    assert decoder.flush() == []
    time = "120000.50"
    assert decoder.feed(seal(at(RMC, time)) + seal(at(GGA, time)), 0) == []
    assert decoder.expects_more is False


def test_a_pause_inside_an_epoch_makes_no_second_epoch():
    decoder = Decoder()
    decoder.feed(seal(RMC), 0)
    assert len(decoder.flush()) == 1
    assert decoder.feed(seal(GGA), 0) == []
    assert decoder.flush() == []


def test_only_the_first_epoch_can_be_torn():
    first, second = decode(GGA, at(GGA, "120001.00"))
    assert (first.whole, second.whole) == (False, True)
    decoder = Decoder()
    decoder.flush()
    assert [e.whole for e in decoder.feed(seal(GGA), 0) + decoder.flush()] == [True]


def test_texts_at_power_on_are_no_epoch():
    assert decode("GPTXT,01,01,02,u-blox ag", "PMTK010,001") == []


def test_an_epoch_without_a_readable_time_is_counted_as_unusable():
    decoder = Decoder()
    decoder.feed(seal(RMC), 0)
    decoder.flush()
    decoder.feed(seal(RMC).replace(b"1200", b"1300") + seal(GGA).replace(b"1", b"2"), 0)
    decoder.feed(seal(VTG), 0)
    assert decoder.flush() == []
    assert decoder.unusable == 1


def test_an_epoch_is_dated_by_its_first_byte_even_if_that_sentence_is_damaged():
    decoder = Decoder()
    decoder.flush()
    data = seal(RMC).replace(b"4730", b"4731") + seal(GGA)
    decoder.feed(data, 5000, 5000 + len(data))
    (epoch,) = decoder.flush()
    assert (epoch.boot_ns, epoch.checksum_errors) == (5000, 1)


def test_garbage_long_before_an_epoch_does_not_date_it():
    decoder = Decoder()
    decoder.feed(b"$GARBAGE\r\n", 1000)
    decoder.flush()
    decoder.feed(seal(GGA), 5000)
    assert decoder.flush()[0].boot_ns == 5000


# The stream


def test_a_file_is_decoded_without_the_comments_at_its_head(tmp_path):
    log = tmp_path / "x.log"
    log.write_bytes(b"# a receiver\n# $GPRMC\n" + seal(RMC) + seal(at(RMC, "120001.00")))
    epochs = list(decode_file(log))
    assert [e.latitude_deg for e in epochs] == [47.5, 47.5]
    assert sum(e.checksum_errors for e in epochs) == 0


START_NS = utc_ns(2025, 6, 21, 23, 59, 59)
FIXED = [
    Fix(START_NS + n * 100_000_000, 47.5 + n * 1e-5, -11.25, 500.0, 13.9, 10.0 * n)
    if n % 7
    else Fix(START_NS + n * 100_000_000)
    for n in range(12)
]
LOG = b"".join(render(fix) for fix in FIXED)
NOISE = st.one_of(
    st.binary(max_size=40).map(lambda b: b.replace(b"$", b"") + b"\r\n"),
    st.sampled_from([b"\xb5b\x01\x07\x00\x00\x08\x19", b"$GPGGA,1", b"$" + b"9" * 300 + b"\n"]),
)


def facts(epochs):
    """All that the sentences say: not the count of what was refused."""
    return [(e.utc_ns, e.fix, e.latitude_deg, e.speed_mps, e.vdop, e.sentences) for e in epochs]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, len(LOG)), max_size=20),
    st.dictionaries(st.integers(0, LOG.count(b"\n")), NOISE, max_size=5),
)
def test_chunks_and_noise_between_lines_make_no_difference(cuts, noise):
    lines = LOG.splitlines(keepends=True)
    data = b"".join(noise.get(n, b"") + line for n, line in enumerate(lines))
    edges = [0, *sorted(cuts), len(data)]
    decoder = Decoder()
    epochs = [e for a, b in itertools.pairwise(edges) for e in decoder.feed(data[a:b], a)]
    epochs += decoder.flush()
    quiet = Decoder()
    assert facts(epochs) == facts(quiet.feed(LOG, 0) + quiet.flush())
    assert [e.utc_ns for e in epochs] == [fix.utc_ns for fix in FIXED]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_make_it_fail(data):
    decoder = Decoder()
    for epoch in decoder.feed(data, 0) + decoder.flush():
        assert epoch.fix == "none"
        pack(epoch)


ADDRESSES = [t + n for t in ("GP", "GN") for n in ("RMC", "GGA", "GSA", "VTG", "GLL", "GNS", "ZDA")]
FIELD = st.one_of(
    st.sampled_from(["", "A", "V", "N", "E", "1", "0", "120000.00", "4730.0", "210625", "-1"]),
    st.text(
        st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="$*,!"), max_size=8
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ADDRESSES), st.lists(FIELD, max_size=20))
def test_no_fields_make_it_fail(address, fields):
    for epoch in decode(",".join([address, *fields])):
        for value in (epoch.latitude_deg, epoch.altitude_m, epoch.speed_mps, epoch.hdop):
            assert value is None or math.isfinite(value)
        pack(epoch)


DIGITS = [str(number) for n in range(20) for number in (10**n, 10**n * 23 // 10, -(10**n))]
WHOLE = [RMC, GGA, GSA, f"GPZDA,{NOON},21,06,2025,00,00", f"GPGST,{NOON},1,2,3,4,5,6,7"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(WHOLE), min_size=1, max_size=4),
    st.integers(0, 3),
    st.integers(1, 20),
    st.one_of(FIELD, st.sampled_from(DIGITS), st.floats().map(str)),
)
def test_no_field_of_a_whole_sentence_makes_it_fail(bodies, sentence, place, value):
    fields = bodies[sentence % len(bodies)].split(",")
    fields[1 + place % (len(fields) - 1)] = value
    bodies[sentence % len(bodies)] = ",".join(fields)
    for epoch in decode(*bodies):
        pack(epoch)


def test_a_gsa_that_is_said_five_times_uses_its_satellites_once():
    assert one(RMC, *["GPGSA,A,3,01,02,03,04,,,,,,,,,2.0,0.9,1.8"] * 5).satellites == 4
