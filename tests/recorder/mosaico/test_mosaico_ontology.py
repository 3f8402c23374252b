"""Our schemas against those of the vendor's SDK, in a process of its own (it patches a lot)."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pytest

from recorder.mosaico import ontology

pytest.importorskip("mosaicolabs", reason="the vendor's SDK is not installed")

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
