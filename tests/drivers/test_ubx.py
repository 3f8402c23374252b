"""Frames of the binary protocol and sentences of MediaTek's, against those that are published."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import pmtk, ubx

SENTENCES = ("RMC", "GGA", "GSA", "VTG")
#: From u-blox's own documents and from what is in use in the field.
RATE_100_MS = bytes.fromhex("b5620608060064000100 01007a12".replace(" ", ""))
RATE_200_MS = bytes.fromhex("b562060806 00c800 01000100de6a".replace(" ", ""))
PRT_115200 = bytes.fromhex(
    "b562060014000100 0000d008000000c20100070003000000 0000c07e".replace(" ", "")
)
POLL_VERSION = bytes.fromhex("b5620a0400000e34")


def test_published_frames_come_out_byte_for_byte():
    assert ubx.settings(SENTENCES, 100, 9600, by_keys=False)[-2] == RATE_100_MS
    assert ubx.settings(SENTENCES, 200, 9600, by_keys=False)[-2] == RATE_200_MS
    assert ubx.set_baud(115_200, by_keys=False) == PRT_115200
    assert ubx.frame(ubx.MON_VER) == POLL_VERSION


def test_the_model_for_vehicles_is_all_that_nav5_changes():
    (frame,) = ubx.Frames().feed(ubx.settings(SENTENCES, 100, 9600, by_keys=False)[-1])
    assert frame.kind == ubx.CFG_NAV5
    assert frame.payload == b"\x01\x00\x04" + bytes(33)


def test_each_sentence_is_switched_on_or_off_by_itself():
    frames = ubx.Frames().feed(b"".join(ubx.settings(("RMC",), 100, 9600, by_keys=False)))
    switched = {f.payload for f in frames if f.kind == ubx.CFG_MSG}
    assert b"\xf0\x04\x01" in switched
    assert {payload[2] for payload in switched - {b"\xf0\x04\x01"}} == {0}
    assert len(switched) == len(ubx.SENTENCE_IDS)


def test_keys_go_to_ram_only_and_come_back_as_they_were_set():
    frames = ubx.Frames().feed(b"".join(ubx.settings(("RMC", "GST"), 125, 9600, by_keys=True)))
    assert {f.payload[:4] for f in frames} == {b"\x00\x01\x00\x00"}
    values: dict[int, int] = {}
    for frame in frames:
        values |= ubx.read_keys(frame.payload) or {}
    assert values[0x30210001] == 125
    assert values[0x30210002] == 1
    assert values[0x20110021] == 4
    assert values[0x10740002] == values[0x10780002] == 1
    on = {key for key, value in values.items() if key >> 16 == 0x2091 and value}
    assert on == {0x209100AC, 0x209100AE, 0x209100D4, 0x209100D6}  # UART1 and USB
    (baud,) = ubx.Frames().feed(ubx.set_baud(230_400, by_keys=True))
    assert ubx.read_keys(baud.payload) == {0x40520001: 230_400}


@pytest.mark.parametrize("payload", [b"\x00\x01\x00\x00\x01", b"\x00\x01\x00\x00" + bytes(8)])
def test_keys_that_are_cut_short_or_unknown_are_no_keys(payload):
    assert ubx.read_keys(payload) is None


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        (["PROTVER=18.00", "MOD=NEO-M8N", "FWVER=SPG 3.01"], ("NEO-M8N", "SPG 3.01", 18.0)),
        (["ROM BASE 0x118B2060", "FWVER=HPG 1.12", "PROTVER=27.11", "MOD=ZED-F9P"],
         ("ZED-F9P", "HPG 1.12", 27.11)),
        (["PROTVER 14.00"], ("u-blox", "7.03 (45969)", 14.0)),
        ([], ("u-blox", "7.03 (45969)", 0.0)),
    ],
)  # fmt: skip
def test_a_version_is_read_of_every_generation(extensions, expected):
    payload = b"7.03 (45969)".ljust(30, b"\0") + b"00040007\0\0"
    payload += b"".join(text.encode().ljust(30, b"\0") for text in extensions)
    assert ubx.version(payload) == expected


FRAME = ubx.frame((1, 7), bytes(range(92)))


@given(st.lists(st.integers(0, 400), max_size=10), st.binary(max_size=60))
def test_frames_are_found_between_sentences_and_noise_cut_anywhere(cuts, noise):
    noise = noise.replace(b"\xb5", b"")
    data = b"$GPGGA,1*00\r\n" + FRAME + noise + FRAME + b"$GP\r\n" + POLL_VERSION
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    frames = ubx.Frames()
    found = [f for a, b in itertools.pairwise(edges) for f in frames.feed(data[a:b])]
    assert [f.kind for f in found] == [(1, 7), (1, 7), ubx.MON_VER]
    assert found[0].payload == bytes(range(92))


def test_a_damaged_frame_hides_nothing_behind_it():
    damaged = bytearray(FRAME)
    damaged[20] ^= 1
    assert [f.kind for f in ubx.Frames().feed(bytes(damaged) + FRAME)] == [(1, 7)]


def test_a_length_that_is_garbage_is_not_waited_for():
    frames = ubx.Frames()
    assert frames.feed(b"\xb5\x62\x01\x07\xff\xff" + bytes(8)) == []
    assert [f.kind for f in frames.feed(FRAME)] == [(1, 7)]


# MediaTek


def test_published_commands_come_out_byte_for_byte():
    assert pmtk.set_baud(115_200) == b"$PMTK251,115200*1F\r\n"
    sentences, rate = pmtk.settings(SENTENCES, 100)
    assert sentences == b"$PMTK314,0,1,1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0*28\r\n"
    assert rate == b"$PMTK220,100*2F\r\n"
    assert pmtk.command(pmtk.ASK_RELEASE) == b"$PMTK605*31\r\n"


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b"$PMTK001,604,3*32", ("PMTK001", "604", "3")),
        (b"$PMTK605*31\r\n", ("PMTK605",)),
        (b"$GPGGA,1*00", None),
        (b"$PMTK", None),
    ],
)
def test_answers_are_told_from_other_sentences(line, fields):
    assert pmtk.fields(line) == fields
