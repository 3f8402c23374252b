"""docs/gps.md says what the driver does: its keys, its rates, its figures."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from drivers import baud_search, nmea_link, receiver_setup
from drivers.nmea_gps import NmeaGps
from drivers.nmea_options import MOST_SET_UP_HZ
from drivers.nmea_rows import FIELDS
from drivers.pmtk import SENTENCE_PLACES
from recorder.configfile import load

TEXT = (Path(__file__).parents[2] / "docs" / "gps.md").read_text()


def test_its_configuration_is_one(tmp_path):
    (table,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    file = tmp_path / "recorder.toml"
    file.write_text(table + '[upload]\nmode = "off"\n')
    assert [one.driver for one in load(file).lanes] == ["nmea_gps"]


def test_its_keys_are_the_drivers_with_what_stands_unsaid():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ", TEXT, re.MULTILINE)
    told = {key: usual.strip(" `") for key, usual in rows}
    options = inspect.signature(NmeaGps).parameters
    assert set(told) >= set(options)
    told = {key: told[key] for key in options}
    defaults = {
        key: "-" if one.default is one.empty else one.default for key, one in options.items()
    }
    spelled = {
        "device": "-", "baud": '"auto"', "rate_hz": "10", "receiver": '"leave"',
        "sentences": '["RMC", "GGA", "GSA", "VTG"]', "pps": '""', "raw": "false",
    }  # fmt: skip
    assert told == spelled
    assert defaults == {
        "device": "-", "baud": "auto", "rate_hz": 10.0, "receiver": "leave",
        "sentences": ("RMC", "GGA", "GSA", "VTG"), "pps": "", "raw": False,
    }  # fmt: skip


def test_its_figures_are_the_programs():
    flat = " ".join(TEXT.split())
    assert ", ".join(map(str, baud_search.USUAL_BAUD)) in flat
    assert f"byte in {baud_search.SILENT_S:g} s" in flat
    assert f"ends after {baud_search.SEARCH_S:g} s" in flat
    assert f"{baud_search.BURST_S:g} s, counted from the first byte" in flat
    assert (nmea_link.SILENCE_PATIENCE_S, nmea_link.GARBAGE_PATIENCE_S) == (5.0, 3.0)
    assert f"1 to {MOST_SET_UP_HZ} Hz" in flat
    sizes = receiver_setup.SENTENCE_BYTES
    assert f"RMC has up to {sizes['RMC']} bytes" in flat
    for name in ("GGA", "GSA", "VTG", "GLL", "GNS", "GST", "ZDA"):
        assert f"{name} {sizes[name]}" in flat
    assert f"{receiver_setup.least_baud(receiver_setup.SENTENCES, 10.0):,} bits" in flat
    assert f"set to {receiver_setup.USUAL_BAUD}" in flat
    assert "GNS" not in SENTENCE_PLACES


def test_every_column_that_it_names_is_there_and_none_is_left_out():
    named = set(
        re.findall(r"`([a-z_.]+)`", TEXT.replace("`, `.y`", "`, `position.y`, `velocity.y`"))
    )
    named |= {"position.z", "position.y", "velocity.y"}
    assert {field.name for field in FIELDS} <= named
