"""The 40 real receivers' logs against what gpsd made of them. gpsd is a reference, not an oracle.

Of gpsd's 645 fixes, all but one are found at the same position (1e-6 degrees) and the same time,
most of them after taking 1024 weeks off gpsd's date: gpsd 3.20 moves every date before its own
build on by one rollover of the GPS week, as it cannot know that a log is old. The dates in the
logs' heads ("Date: 2006-07-22") say that the sentences are right. One log is the other way round:
april6_2019's receiver had rolled over and says 1999-08-22 itself; a decoder repeats it.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import struct
import threading
from pathlib import Path
from random import Random

import pytest

from drivers.base import TYPES
from drivers.nmea import FIXES, Decoder, decode_file
from drivers.nmea_gps import NmeaGps
from drivers.nmea_rows import NULL_UTC_NS
from drivers.sim.receiver import Receiver, log_epochs

ROOT = Path(__file__).parents[2]
LOGS = (ROOT / os.environ.get("RECORDER_DATA", "../shared/data")).resolve() / "nmea"
ROLLOVER_NS = 1024 * 7 * 86_400 * 1_000_000_000
CLOSE_DEG = 1e-6
ROW = struct.Struct("<" + "".join(TYPES[f.type[1:]] for f in NmeaGps.fields))

TORN_FIRST = "torn at its beginning, and no date seen yet: gpsd cannot name it"
TORN_LAST = "the log ends inside it: gpsd reports behind the last sentence it has learned"
FIRST_FIX = "status A, quality 1, GSA 2 or 3: gpsd does not report the epoch that regains the fix"
LEARNING = "in the first second gpsd has not yet learned where this receiver's epochs end"

#: Per log: gpsd's fixes, how many agree with its own date and after 1024 weeks, and the reason for
#: every epoch with a fix that gpsd does not have.
EXPECTED = {
    "GPSmap-76S": (0, 0, 0, []),
    "april6_2019": (1, 0, 1, ["RMC with the date 2208-1: no date, and gpsd drops it"]),
    "beidou-gb": (1, 0, 1, [FIRST_FIX]),
    "bn-9015": (5, 0, 5, [FIRST_FIX]),
    "bt451": (
        12,
        0,
        11,
        [
            TORN_FIRST,
            TORN_LAST,  # of the first of two recordings in this file
            "GGA 14:33:06 of the second, earlier recording: gpsd takes it for the next day, but "
            "the ZDA of the same epoch says 2009-12-09 (gpsd's one fix that we do not have)",
            TORN_LAST,
        ],
    ),
    "bu353s4": (25, 0, 25, []),
    "ch-4701": (26, 0, 26, [TORN_FIRST, TORN_LAST]),
    "com-1289": (14, 0, 14, []),
    "eXplorist210": (4, 0, 4, []),
    "foretrex-201": (6, 0, 6, [TORN_LAST]),
    "garmin-geko201": (0, 0, 0, []),
    "garmin25lp": (9, 0, 9, [FIRST_FIX]),
    "garmin48": (13, 0, 13, [LEARNING]),
    "gp-320fw-2019-03-28": (
        19,
        19,
        0,
        [TORN_FIRST, "16:45:19.99 lacks the GLL by which gpsd ends epochs"],
    ),
    "gp-320fw-2019-04-07-coldboot": (1, 1, 0, [TORN_FIRST]),
    "gpslim236": (20, 0, 20, []),
    "gr8013-w": (3, 0, 3, []),
    "haicom-305N": (67, 0, 67, [FIRST_FIX]),
    "holux-gm-210": (0, 0, 0, []),
    "iTrek": (35, 0, 35, []),
    "magellan-ec10": (21, 0, 21, []),
    "motorola-t805": (15, 0, 15, [FIRST_FIX]),
    "mt3339": (30, 0, 30, []),
    "mtk-3329": (5, 0, 5, []),
    "navika-100-fix": (20, 0, 20, []),
    "neo-m8n": (22, 0, 22, [TORN_FIRST, TORN_LAST]),
    "nl402u": (9, 0, 9, []),
    "nokia-ld-4w": (19, 0, 19, []),
    "pharos-360": (21, 0, 21, [TORN_LAST]),
    "rgm3800": (1, 0, 1, [FIRST_FIX]),
    "rx210": (40, 0, 40, []),
    "skytraq-dgps": (96, 0, 96, []),
    "skytraq-fixB": (6, 0, 6, []),
    "sl869": (8, 0, 8, []),
    "tn200-all": (0, 0, 0, []),
    "tn204": (7, 0, 7, [LEARNING]),
    "tr737Aplus": (7, 0, 7, [FIRST_FIX]),
    "ublox-lea-4h": (9, 0, 9, []),
    "ublox-lea-5h": (19, 0, 19, ["RMC 08:37:36 alone, valid: the first of two recordings ends"]),
    "ublox-zed-f9p-nmea": (29, 29, 0, []),
}

needs_logs = pytest.mark.skipif(
    not LOGS.is_dir(), reason=f"no receiver logs at {LOGS}; RECORDER_DATA names their folder"
)


def read_fixes(name):
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    for fix in json.loads((LOGS / f"{name}.fixes.json").read_text()):
        moment = datetime.datetime.fromisoformat(fix["time"].replace("Z", "+00:00"))
        yield (
            (moment - epoch) // datetime.timedelta(microseconds=1) * 1000,
            fix["lat"],
            fix["lon"],
        )


def is_near(epoch, latitude_deg, longitude_deg):
    return (
        abs(epoch.latitude_deg - latitude_deg) <= CLOSE_DEG
        and abs(epoch.longitude_deg - longitude_deg) <= CLOSE_DEG
    )


@needs_logs
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_real_receiver_is_understood_as_gpsd_does_but_for_the_reasons_given(name):
    fixes = {e.utc_ns: e for e in decode_file(LOGS / f"{name}.log") if e.fix != "none"}
    same = rolled = reference = 0
    ours = dict(fixes)
    for time_ns, latitude_deg, longitude_deg in read_fixes(name):
        reference += 1
        for shift_ns in (0, ROLLOVER_NS):
            epoch = fixes.get(time_ns - shift_ns)
            if epoch is not None and is_near(epoch, latitude_deg, longitude_deg):
                same += shift_ns == 0
                rolled += shift_ns > 0
                ours.pop(time_ns - shift_ns, None)
    assert (reference, same, rolled) == EXPECTED[name][:3]
    assert len(ours) == len(EXPECTED[name][3])


@needs_logs
def test_no_log_is_left_out():
    assert sorted(path.stem for path in LOGS.glob("*.log")) == sorted(EXPECTED)


@needs_logs
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_model_plays_a_log_byte_for_byte(name):
    bursts = log_epochs(LOGS / f"{name}.log")
    lines = (LOGS / f"{name}.log").read_bytes().splitlines(keepends=True)
    while lines[0].startswith(b"#"):
        del lines[0]
    assert b"".join(burst.data for burst in bursts) == b"".join(lines)
    assert [b.offset_ns for b in bursts] == sorted({b.offset_ns for b in bursts})


def facts(epochs):
    return [
        (e.utc_ns, FIXES.index(e.fix), e.latitude_deg, e.longitude_deg, e.sentences) for e in epochs
    ]


NOISE = (
    b"\xb5\x62\x01\x07\x02\x00$\x07\x31\x11",  # UBX
    b"\xd3\x00\x13\x3e\xd7\xd3\x02",  # RTCM
    b"$GPGGA,1", b"\x00\xff\xfe\r\n", b"+0000\r\n", b"$+0000*1B\r\n", b"$" + b"9" * 300 + b"\n",
)  # fmt: skip


def in_chunks(data, random):
    begin = 0
    while begin < len(data):
        end = begin + random.choice((1, 7, 64, 300, 2000))
        yield data[begin:end]
        begin = end


@needs_logs
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_chunks_and_noise_between_the_lines_of_a_real_log_make_no_difference(name):
    data = b"".join(burst.data for burst in log_epochs(LOGS / f"{name}.log"))
    quiet = Decoder()
    expected = facts(quiet.feed(data, 0) + quiet.flush())
    for seed in range(3):
        random = Random(seed)
        noisy = b"".join(
            line + (random.choice(NOISE) if line.endswith(b"\n") and random.random() < 0.2 else b"")
            for line in data.splitlines(keepends=True)
        )
        decoder = Decoder()
        epochs = [e for chunk in in_chunks(noisy, random) for e in decoder.feed(chunk, 0)]
        assert facts(epochs + decoder.flush()) == expected


def row_facts(driver, sample):
    row = dict(zip((f.name for f in driver.fields), ROW.unpack(sample.payload[0]), strict=True))
    return tuple(
        None if value == NULL_UTC_NS or math.isnan(value) else value
        for value in (
            row["utc_ns"], row["fix"], row["position.x"], row["position.y"], row["sentences"]
        )
    )  # fmt: skip


@needs_logs
@pytest.mark.parametrize("name", ["com-1289", "haicom-305N", "ublox-zed-f9p-nmea"])
def test_a_log_played_into_a_terminal_gives_the_epochs_of_its_file(name, tmp_path):
    bursts = log_epochs(LOGS / f"{name}.log")[:10]
    (tmp_path / "part.log").write_bytes(b"".join(burst.data for burst in bursts))
    expected = facts(decode_file(tmp_path / "part.log"))
    source = [(None, n * 100_000_000, burst.data) for n, burst in enumerate(bursts)]
    receiver = Receiver(source, tmp_path / "gps", tmp_path / "gps.jsonl", baud=460_800)
    stop = threading.Event()
    thread = threading.Thread(target=receiver.run, args=(stop,))
    thread.start()
    try:
        while not (tmp_path / "gps").exists():
            assert thread.is_alive()
            stop.wait(0.005)
        with NmeaGps(device=str(tmp_path / "gps"), baud=460_800) as driver:
            driver.open()
            samples = [driver.read(10.0) for _ in expected]
            assert [row_facts(driver, sample) for sample in samples] == expected
    finally:
        stop.set()
        thread.join(10.0)
    assert not thread.is_alive()
