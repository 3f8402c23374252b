"""A value beyond its column's range never becomes infinite: it is refused, by the lane's policy."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import pyarrow as pa
import pytest

from drivers.base import Field
from recorder import record
from recorder.columns import UnmappableError, batches
from recorder.errors import RemoteAwayError
from recorder.gathered import Span
from recorder.mosaico import MosaicoClient, ontology
from recorder.schema import LaneSchema
from recorder.spool import journal
from recorder.uploader import upload_once, verify_all
from tests.known import known
from tests.recorder.test_columns import RATE_ONE
from tests.recorder.upload.made import GPS, PERIOD_NS, Drive, differences, server_rows

LARGEST = 2.0**128 - 2.0**104  # of float32
ROW = struct.Struct("<d")


@dataclass(frozen=True, kw_only=True, slots=True)
class Volts:
    """No ontology of Mosaico's has such a column that a lane could fill."""

    ontology_tag: ClassVar[str] = "Volts"
    volts: Annotated[float, pa.float32()]


VOLTS = LaneSchema(
    "pack",
    "pack",
    "Volts",
    10.0,
    0.1,
    (Field("volts", "<f8", "V", scale=8.0),),
)


@pytest.fixture(autouse=True)
def _known_to_the_uploader(monkeypatch):
    monkeypatch.setitem(ontology._KINDS, "Volts", Volts)


def made(fields, *rows):
    schema = replace(VOLTS, fields=fields)
    raw = b"".join(rows)
    (batch,) = batches(schema, [(Span(7, len(rows), 5000, 10), memoryview(raw))], RATE_ONE)
    return batch.column("volts").to_pylist()


def test_the_row_is_named_whose_value_would_become_infinite():
    doubles = (Field("volts", "<f8", "V"),)
    packed = [ROW.pack(one) for one in (1.5, LARGEST, -LARGEST)]
    assert made(doubles, *packed) == [1.5, LARGEST, -LARGEST]
    said = r"lane pack: volts: -1e\+39 of sample 10 is beyond the range of float"
    with pytest.raises(UnmappableError, match=said):
        made(doubles, *packed, ROW.pack(-1e39), ROW.pack(1e39))


def test_what_the_device_itself_calls_infinite_stays_so():
    doubles = (Field("volts", "<f8", "V"),)
    assert made(doubles, ROW.pack(math.inf), ROW.pack(-math.inf)) == [math.inf, -math.inf]
    assert made((Field("volts", "<u8", "V"),), bytes(7) + b"\x80") == [2.0**63]


def test_a_scale_can_lead_beyond_it_too():
    scaled = (Field("volts", "<i2", "V", scale=1e36),)
    assert made(scaled, struct.pack("<h", 300)) == [pytest.approx(3e38)]
    with pytest.raises(UnmappableError, match="of sample 8 is beyond the range of float"):
        made(scaled, struct.pack("<h", 0), struct.pack("<h", -400))


@pytest.fixture
def drive(tmp_path):
    """Make a drive with three parts of volts, in the second of which a value is too large."""
    recordings = []

    def make(policy):
        volts = replace(VOLTS, on_error=policy)
        found = Drive(tmp_path, (GPS, volts))
        recordings.append(found.recording)
        found.tell_time()
        found.gps(5)
        for number in range(30):
            value = 1e39 if number == 15 else 0.25
            at_ns = found.start_ns + 10**9 + number * 10 * PERIOD_NS
            found._put(volts, [ROW.pack(value)], 1, at_ns)
        found.end()
        return found

    yield make
    for one in recordings:
        one.close()


@pytest.mark.parametrize(
    ("policy", "held"), [("raise", 10), ("ignore", 20), ("finalize", 10)], ids=lambda one: one
)
def test_its_part_is_refused_and_counted_and_the_policy_decides_the_rest(
    drive, station, policy, held
):
    found = drive(policy)
    config = found.config(station.url, part_s=10 * 10 * PERIOD_NS / 1e9)
    summary = upload_once(config)
    entries = journal.read(config.upload_dir / found.id)
    refused = [one["reason"] for one in entries if one["entry"] == "parked"]
    assert refused[0] == "lane pack: volts: 8e+39 of sample 15 is beyond the range of float"
    with MosaicoClient.connect_url(station.url) as client:
        (name,) = client.sequences()
        noted = [one.text for one in client.notifications(name)]
        topics = [one.locator for one in known(client.describe_sequence(name)).topics]
        rows = [
            row
            for one in topics
            if "/pack" in one
            for batch in client.read(one)
            for row in batch.column("volts").to_pylist()
        ]
    assert rows == held * [2.0]
    assert sum("of sample 15 is beyond the range" in text for text in noted) == 1
    if policy == "raise":
        assert "beyond the range of float" in summary.parked[found.id]
        return
    assert summary.done == [found.id]
    (final,) = (one["session"] for one in entries if one["entry"] == "final")
    pack = next(one for one in final["lanes"] if one["name"] == "pack")
    assert (pack["delivered"], pack["lost_rejected"]) == (held, 30 - held)
    assert differences(server_rows(station.url, name, "gps"), found.expected("gps")) == []


@pytest.mark.parametrize("damaged", [1, 5], ids=["the value", "all of it"])
def test_one_that_is_damaged_since_is_sent_without_what_is_and_leaves_all_others_alone(
    drive, station, monkeypatch, damaged
):
    create = MosaicoClient.create_topic

    def cut(client, session, locator, **facts):
        if locator.endswith("pack/p000004"):
            raise RemoteAwayError("cut")
        return create(client, session, locator, **facts)

    found = drive("ignore")
    config = found.config(station.url, part_s=5 * 10 * PERIOD_NS / 1e9)
    with monkeypatch.context() as link:
        link.setattr(MosaicoClient, "create_topic", cut)
        with pytest.raises(RemoteAwayError):
            upload_once(config)
    entries = journal.read(config.upload_dir / found.id)
    refused = {one["part"] for one in entries if one["entry"] == "parked"}
    (part,) = (one for one in entries if one["entry"] == "planned" and one["part"] in refused)
    ((file, begin, end, rows),) = part["pieces"]
    path = found.spool.session_dir(found.id) / "pack" / file
    content = bytearray(path.read_bytes())
    for number in range(damaged):
        content[begin + number * (end - begin) // rows + record.HEADER_BYTES] ^= 1
    path.write_bytes(content)

    assert upload_once(config).done == [found.id]
    entries = journal.read(config.upload_dir / found.id)
    gone = [one["part"] for one in entries if one["entry"] == "dropped"]
    assert gone == ([part["part"]] if damaged == rows else [])
    topics = {one["topic"]: one["rows"] for one in entries if one["entry"] == "receipt"}
    with MosaicoClient.connect_url(station.url) as client:
        (name,) = client.sequences()
        there = known(client.describe_sequence(name)).topics
    assert {one.locator.partition("/")[2]: one.row_count for one in there} == topics
    assert sum(rows for topic, rows in topics.items() if topic.startswith("pack")) == 30 - damaged
    assert [one.wrong for one in verify_all(config, lambda _: None).values()] == [[]]
