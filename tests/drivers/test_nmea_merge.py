"""Every kind of sentence, of every talker: what each adds to an epoch."""

from __future__ import annotations

import pytest

from drivers.nmea import Decoder
from drivers.sim.nmea_render import Fix, render, seal

UTC_NS = 1_750_507_200_000_000_000  # 2025-06-21 12:00:00
TALKERS = ("GN", "GP", "GL", "GA", "GB", "BD", "GQ", "GI", "XX")
FIX = Fix(
    UTC_NS, 47.5, -11.25, 512.5, 13.9, 45.0, geoid_separation_m=47.1, satellites=9,
    hdop=0.9, vdop=1.8, pdop=2.0, sigma_m=(1.5, 2.5, 4.25),
)  # fmt: skip
#: What each kind says by itself, of these.
SAYS = {
    "RMC": {"latitude_deg", "speed_mps", "course_deg", "north_mps"},
    "GGA": {"latitude_deg", "altitude_m", "geoid_separation_m", "satellites", "hdop"},
    "GNS": {"latitude_deg", "altitude_m", "geoid_separation_m", "satellites", "hdop"},
    "GLL": {"latitude_deg"},
    "GSA": {"satellites", "hdop", "vdop", "pdop"},
    "VTG": {"speed_mps", "course_deg", "north_mps"},
    "GST": {"sigma_latitude_m", "sigma_longitude_m", "sigma_altitude_m"},
    "ZDA": set(),
}
VALUES = {
    "latitude_deg": 47.5, "altitude_m": 512.5, "geoid_separation_m": 47.1, "satellites": 9,
    "hdop": 0.9, "vdop": 1.8, "pdop": 2.0, "speed_mps": pytest.approx(13.9, abs=1e-3),
    "course_deg": 45.0, "north_mps": pytest.approx(9.829, abs=1e-3), "sigma_latitude_m": 1.5,
    "sigma_longitude_m": 2.5, "sigma_altitude_m": 4.25,
}  # fmt: skip


def one(data):
    decoder = Decoder()
    (epoch,) = decoder.feed(data, 0) + decoder.flush()
    return epoch


def spoken_by(data, talker):
    bodies = [line[1:].split("*")[0] for line in data.decode().splitlines()]
    return b"".join(seal(talker + body[2:]) for body in bodies)


@pytest.mark.parametrize("talker", TALKERS)
@pytest.mark.parametrize("name", SAYS)
def test_each_kind_of_any_talker_adds_what_it_knows_and_nothing_else(name, talker):
    # GLL alone makes an epoch with a fix; the others join it.
    epoch = one(spoken_by(render(FIX, ("GLL", name) if name != "GLL" else ("GLL",)), talker))
    expected = SAYS[name] | {"latitude_deg"}
    assert {key for key in VALUES if getattr(epoch, key) is not None} == expected
    assert {key: getattr(epoch, key) for key in expected} == {key: VALUES[key] for key in expected}


def test_the_date_comes_of_zda_as_of_rmc():
    assert one(render(FIX, ("GLL", "ZDA"))).utc_ns == UTC_NS
    assert one(render(FIX, ("GLL",))).utc_ns is None


def test_all_eight_make_one_epoch_with_all_they_say():
    epoch = one(render(FIX, tuple(SAYS)))
    assert {key: getattr(epoch, key) for key in VALUES} == VALUES
    assert (epoch.utc_ns, epoch.fix, epoch.sentences) == (UTC_NS, "3d", 8)


def test_without_a_fix_all_eight_say_nothing_but_the_time():
    epoch = one(render(Fix(UTC_NS), tuple(SAYS)))
    assert (epoch.fix, epoch.utc_ns, epoch.sentences) == ("none", UTC_NS, 8)
    assert {key for key in VALUES if getattr(epoch, key) is not None} == {"satellites"}


def test_sigmas_of_a_lost_fix_are_not_believed():
    epoch = one(render(Fix(UTC_NS), ("RMC",)) + render(FIX, ("GST",)))
    assert (epoch.fix, epoch.sigma_latitude_m) == ("none", None)


def test_a_week_that_rolled_over_is_repeated_as_the_receiver_says_it():
    # It is the recorder's clock that judges it (1024 weeks are 19.6 years), not the decoder.
    rolled = Fix(UTC_NS - 1024 * 7 * 86_400 * 1_000_000_000, 47.5, -11.25)
    assert one(render(rolled)).utc_ns == rolled.utc_ns


def test_the_century_turns_within_a_recording():
    late, early = 4_102_444_799_900_000_000, 4_102_444_800_000_000_000  # 2099-12-31, 2100-01-01
    decoder = Decoder()
    data = render(Fix(late, 47.5, 11.0), ("RMC", "ZDA")) + render(
        Fix(early, 47.5, 11.0), ("RMC", "ZDA")
    )
    assert [e.utc_ns for e in decoder.feed(data, 0) + decoder.flush()] == [late, early]
