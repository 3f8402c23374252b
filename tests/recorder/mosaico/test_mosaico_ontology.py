"""Our schemas against those of the vendor's SDK, in a process of its own (it patches a lot)."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar

import pyarrow as pa
import pytest

import recorder.mosaico
from recorder.mosaico import (
    Header,
    Message,
    String,
    TopicLevelErrorPolicy,
    message,
    ontology,
    rows,
)
from recorder.upload.parts import MARKS, SESSION_LOG, SUMMARY
from recorder.upload.rows import OWN_ONTOLOGY

FINGERPRINTS = {
    "GPS": "c1e80cebd9",
    "GPSStatus": "7c24e2702c",
    "IMU": "2d6a4121b0",
    "CompressedImage": "19ce858015",
    "Image": "b895ed9fb0",
    "Magnetometer": "ea5a9de29f",
    "Temperature": "b91eadf295",
    "Pressure": "b91eadf295",
    "NMEASentence": "ab08ca420d",
    "String": "43e6a970a8",
    "Boolean": "ba7ff48a23",
    "Integer64": "8d90cc9b86",
    "Floating64": "2ef226bf0d",
    "BatteryState": "eb87282223",
}
SDK = """
import json, sys
import mosaicolabs
from mosaicolabs.bridges.ros.data_ontology import battery_state  # registers BatteryState
from mosaicolabs.models.core.message import Message
from mosaicolabs.models.core.serializable import _SCHEMA_REGISTRY, _compute_schema_fingerprint
import pyarrow as pa
from recorder.mosaico import ontology
facts = {}
for tag in sys.argv[1:]:
    schema = Message._get_schema(_SCHEMA_REGISTRY[tag])
    mine = pa.struct([f for f in ontology.schema(tag) if f.name != "timestamp_ns"])
    facts[tag] = {
        "equal": ontology.schema(tag).equals(schema, check_metadata=False),
        "fingerprint": _compute_schema_fingerprint(mine)[:10],
        "format": _SCHEMA_REGISTRY[tag].__serialization_format__.value,
    }
print(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def sdk():
    if find_spec("mosaicolabs") is None:
        pytest.skip("the vendor's SDK is not installed")
    done = subprocess.run(
        [sys.executable, "-c", SDK, *ontology.TAGS],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_table_of_fingerprints_names_every_tag():
    assert set(FINGERPRINTS) == set(ontology.TAGS)


@pytest.mark.parametrize("tag", ontology.TAGS)
def test_names_order_types_and_nullability_are_those_of_the_sdk(sdk, tag):
    assert sdk[tag]["equal"]


@pytest.mark.parametrize("tag", ontology.TAGS)
def test_the_sdk_computes_its_own_fingerprint_from_our_schema(sdk, tag):
    assert sdk[tag]["fingerprint"] == FINGERPRINTS[tag]


@pytest.mark.parametrize("tag", ontology.TAGS)
def test_the_serialization_format_is_that_of_the_sdk(sdk, tag):
    assert ontology.serialization_format(tag) == sdk[tag]["format"]


def test_every_topic_begins_with_its_required_time():
    for tag in ontology.TAGS:
        first = ontology.schema(tag).field(0)
        assert first.equals(pa.field("timestamp_ns", pa.int64(), nullable=False))


# --- ontologies of users


@dataclass(frozen=True, kw_only=True, slots=True)
class Axle:
    left: float
    right: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelSpeed:
    """Every kind of column that a user can declare."""

    ontology_tag: ClassVar[str] = "WheelSpeed"
    serialization_format: ClassVar[str] = "ragged"
    header: Header | None = None
    front: Axle
    ticks: Annotated[int, pa.uint32()]
    count: int
    samples: list[float] | None = None
    raw: bytes | None = None
    unit: str
    is_moving: bool


def test_a_users_class_is_its_schema():
    required = partial(pa.field, nullable=False)
    axle = pa.struct([required("left", pa.float64()), pa.field("right", pa.float64())])
    assert ontology.schema_of(WheelSpeed) == pa.schema(
        [
            required("timestamp_ns", pa.int64()),
            pa.field("header", ontology.HEADER),
            required("front", axle),
            required("ticks", pa.uint32()),
            required("count", pa.int64()),
            pa.field("samples", pa.list_(pa.float64())),
            pa.field("raw", pa.binary()),
            required("unit", pa.string()),
            required("is_moving", pa.bool_()),
        ]
    )


def test_rows_of_a_users_class_come_back_as_they_were_pushed(client):
    pushed = [
        WheelSpeed(
            front=Axle(left=1.5, right=right),
            ticks=7,
            count=-3,
            samples=samples,
            raw=raw,
            unit="m/s",
            is_moving=True,
        )
        for right, samples, raw in ((2.5, [0.1, 0.2], b"\0"), (None, None, None))
    ]
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("wheels", {}, WheelSpeed)
        for number, data in enumerate(pushed):
            topic.push(Message(timestamp_ns=number, data=data))
    described = client.describe_topic("drive/wheels")
    assert (described.ontology_tag, described.row_count) == ("WheelSpeed", 2)
    assert list(rows(client, "drive/wheels")) == [
        {"timestamp_ns": number, **asdict(data)} for number, data in enumerate(pushed)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    ontology_tag: ClassVar[str] = "Counted"
    header: Header | None = None
    ticks: Annotated[int, pa.uint8()]
    seen: list[int] | None = None
    at: Annotated[int, pa.timestamp("ns")] | None = None


FRACTION: Any = 1.5
FRACTIONS = {
    "timestamp_ns": {"timestamp_ns": FRACTION},
    "header.sample_counter": {"header": Header(sample_counter=FRACTION)},
    "ticks": {"ticks": -FRACTION / 3},
    "ticks ": {"ticks": Decimal("2.5")},
    "seen[]": {"seen": [1, FRACTION]},
    "at": {"at": FRACTION},
}


@pytest.mark.parametrize("place", FRACTIONS)
def test_a_fraction_where_only_whole_numbers_have_room_is_left_out_and_noted(client, place):
    given = {"timestamp_ns": 2, "ticks": 4, **FRACTIONS[place]}
    bad = Message(timestamp_ns=given.pop("timestamp_ns"), data=Counted(**given))
    whole: Any = {"timestamp_ns": 3.0, "ticks": 5.0, "seen": [6.0, 7], "at": 8.0}
    good = Message(timestamp_ns=whole.pop("timestamp_ns"), data=Counted(**whole))
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("counted", {}, Counted, on_error=TopicLevelErrorPolicy.Ignore)
        for one in (Message(timestamp_ns=1, data=Counted(ticks=4)), bad, good):
            topic.push(one)
    found = list(rows(client, "drive/counted"))
    assert [(one["timestamp_ns"], one["ticks"], one["seen"]) for one in found] == [
        (1, 4, None),
        (3, 5, [6, 7]),
    ]
    [noted] = client.notifications("drive/counted")
    assert f"{place.strip()}: " in noted.text
    assert "is no whole number" in noted.text


def test_a_class_that_is_no_ontology_is_refused_before_the_server_makes_a_topic(client):
    @dataclass
    class Changeable:
        ontology_tag: ClassVar[str] = "Changeable"
        value: float = 0.0

    @dataclass(frozen=True)
    class Untagged:
        value: float = 0.0

    @dataclass(frozen=True)
    class Strange:
        ontology_tag: ClassVar[str] = "Strange"
        value: complex = 0j

    with client.sequence_create("drive", {}) as writer:
        for kind, told in (
            (Changeable, "Changeable is no frozen dataclass"),
            (Untagged, "Untagged names no ontology_tag"),
            (Strange, r"Strange\.value: .*complex.* is no type of a column"),
        ):
            with pytest.raises(TypeError, match=told):
                writer.topic_create("wheels", {}, kind)
    assert client.describe_sequence("drive").topics == ()


def test_the_recorders_own_topics_are_texts_that_every_reader_decodes():
    assert (SESSION_LOG, MARKS, SUMMARY) == (
        "recorder/session",
        "recorder/marks",
        "recorder/summary",
    )
    assert OWN_ONTOLOGY == "String"
    assert ontology.schema(OWN_ONTOLOGY) == ontology.schema_of(String)


def test_all_public_names_are_importable_from_the_package():
    for kind in message.ONTOLOGIES:
        assert getattr(recorder.mosaico, kind.__name__) is kind
    assert [name for name in recorder.mosaico.__all__ if not hasattr(recorder.mosaico, name)] == []
