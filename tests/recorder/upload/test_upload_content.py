"""The digest of a topic's values: the same however they are cut, another for any other value."""

from __future__ import annotations

import hashlib
import itertools
import struct

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.mosaico import ontology
from recorder.upload.content import digest

NAN = float("nan")


def gps(count):
    """Return rows with nulls at every depth, lists, and NaN."""
    return [
        {
            "timestamp_ns": 10 + i,
            "header": None if i % 3 else {"timestamp": None, "frame_id": "é" * i},
            "position": {"covariance": [0.5] * i if i % 2 else None, "x": NAN, "y": 1.0, "z": i},
            "velocity": None if i % 4 else {"x": -0.0},
            "status": {"status": 1, "service": 2, "hdop": None},
        }
        for i in range(count)
    ]


def batch(rows, tag="GPS"):
    return pa.RecordBatch.from_pylist(rows, ontology.schema(tag))


@given(st.lists(st.integers(0, 12), max_size=4))
def test_the_digest_does_not_depend_on_the_batches(cuts):
    whole = batch(gps(12))
    edges = [0, *sorted(cuts), 12]
    pieces = [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    assert digest(pieces) == digest([whole])


def changed(path, value):
    rows = gps(12)
    place = rows[3]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return digest([batch(rows)])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("timestamp_ns",), 999),
        (("header",), None),
        (("header", "frame_id"), "éèé"),
        (("position", "covariance"), [0.5, 0.5]),
        (("position", "x"), 0.0),
        (("position", "x"), None),
        (("velocity",), {"x": None}),
        (("status", "hdop"), 0.0),
    ],
)
def test_any_other_value_gives_another_digest(path, value):
    assert changed(path, value) != digest([batch(gps(12))])


def test_a_row_that_is_missing_or_moved_gives_another_digest():
    rows = gps(12)
    found = {digest([batch(one)]) for one in (rows, rows[1:], rows[:-1], [*rows[1:], rows[0]])}
    assert len(found) == 4


def floats(*bits):
    """Return a batch of Floating64 with these bits."""
    columns = [pa.array(range(len(bits)), pa.int64()), pa.array(bits, pa.uint64()).view("double")]
    return pa.RecordBatch.from_arrays(columns, schema=ontology.schema("Floating64"))


def test_every_nan_is_one_and_the_sign_of_zero_counts():
    assert digest([floats(0x7FF8 << 48)]) == digest([floats(2**64 - 1)])
    assert digest([floats(0)]) != digest([floats(1 << 63)])


def test_pictures_count_by_their_checksum():
    rows = [{"timestamp_ns": i, "data": bytes([i]) * 9, "format": "jpeg"} for i in range(3)]
    other = [*rows[:2], {**rows[2], "data": b"\x02" * 8 + b"\x03"}]
    image = "CompressedImage"
    assert digest([batch(rows, image)]) != digest([batch(other, image)])
    assert digest(batch(rows, image).slice(i, 1) for i in range(3)) == digest([batch(rows, image)])


def test_no_rows_are_no_rows_however_many_batches():
    assert digest([]) == digest([batch([])])


def test_the_digest_is_what_its_description_says():
    # Worked out with a pencil from the module's docstring: two rows of an Integer64.
    rows = [{"timestamp_ns": 1, "data": 7}, {"timestamp_ns": 2, "data": -1}]
    whole = hashlib.sha256()
    for path, content in (("data", (7, -1)), ("timestamp_ns", (1, 2))):
        whole.update(path.encode() + b"\0" + hashlib.sha256(struct.pack("<2q", *content)).digest())
    made = pa.RecordBatch.from_pylist(rows, ontology.schema("Integer64"))
    assert digest([made]) == f"sha256:{whole.hexdigest()}"
