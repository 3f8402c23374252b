"""Records to Arrow: every value equal to what Python's own arithmetic makes of the raw bytes."""

from __future__ import annotations

import itertools
import math
import struct

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import TYPES, Field
from drivers.camera import BLOB, FIELDS
from recorder.clock import Mapping
from recorder.columns import UnmappableError, arrow_schema, batches
from recorder.mosaico import ontology
from recorder.record import Header, Losses
from recorder.schema import LaneSchema
from recorder.stamps import Stamps

AXES = ("acceleration.x", "acceleration.y", "acceleration.z")
RATES = ("angular_velocity.x", "angular_velocity.y", "angular_velocity.z")
UTC_NS = 1_700_000_000_000_000_000
RATE_ONE = Mapping(((1000, UTC_NS),), "gps", 5)


def imu(kind=">i2", scale=0.0023942, offset=0.0, **more):
    fields = tuple(Field(name, kind, "1", scale, offset, **more) for name in AXES + RATES)
    return LaneSchema("imu", "mpu", "IMU", 200.0, 0.03, fields)


def scalar(field):
    return LaneSchema("t", "t", "Temperature", 1.0, 0.1, (field,))


def data(seqno, rows, payload, boot_ns=5000, period_ns=10):
    header = Header(1, 1, 1, 0, seqno, rows, len(payload), boot_ns, period_ns, 0, Losses())
    return header, memoryview(payload)


def table(schema, records, mapping=RATE_ONE, **bounds):
    found = list(batches(schema, records, mapping, **bounds))
    for one in found:
        one.validate(full=True)
        assert one.schema == arrow_schema(schema)
    return pa.Table.from_batches(found)


def values(schema, records, path):
    rows = table(schema, records).to_pylist()
    for key in path.split("."):
        rows = [one[key] for one in rows]
    return rows


@given(
    st.lists(st.lists(st.integers(-32768, 32767), min_size=6, max_size=6), min_size=1, max_size=30),
    st.sampled_from(["<", ">"]),
    st.floats(-10, 10),
    st.floats(-10, 10),
    st.integers(1, 7),
)
def test_a_value_is_raw_times_scale_plus_offset_exactly(rows, order, scale, offset, burst):
    schema = imu(f"{order}i2", scale, offset)
    records = [
        data(i, len(part), b"".join(struct.pack(f"{order}6h", *row) for row in part))
        for i in range(0, len(rows), burst)
        for part in [rows[i : i + burst]]
    ]
    found = table(schema, records).to_pylist()
    for row, raw in zip(found, rows, strict=True):
        for path, count in zip(AXES + RATES, raw, strict=True):
            outer, inner = path.split(".")
            assert row[outer][inner] == count * scale + offset


@given(st.sampled_from(sorted(TYPES)), st.sampled_from("<>"), st.data())
def test_every_type_and_byte_order_is_read_as_struct_reads_it(kind, order, draw):
    raw = draw.draw(st.binary(min_size=int(kind[1:]) * 5, max_size=int(kind[1:]) * 5))
    due = [one for (one,) in struct.iter_unpack(order + TYPES[kind], raw)]
    schema = scalar(Field("value", order + kind, "K", scale=0.5, offset=0.25))
    found = values(schema, [data(0, 5, raw)], "value")
    for value, exact in zip(found, (one * 0.5 + 0.25 for one in due), strict=True):
        assert value == exact or (math.isnan(value) and math.isnan(exact))


def test_what_is_not_known_is_null_and_in_a_vector_nan():
    gps = LaneSchema(
        "gps",
        "nmea",
        "GPS",
        10.0,
        0.001,
        (
            Field("utc_ns", "<i8", "ns", null=-1),
            Field("position.x", "<f8", "deg"),
            Field("velocity.x", "<f8", "m/s"),
            Field("status.status", "<i1", "1"),
            Field("status.service", "<u2", "1"),
            Field("status.satellites", "<i1", "1", null=-1),
            Field("status.hdop", "<f8", "1"),
        ),
    )
    row, nan = struct.Struct("<qddbHbd"), math.nan
    first, second = table(
        gps,
        [
            data(0, 1, row.pack(UTC_NS + 3, 1.5, nan, 1, 2, -1, nan)),
            data(1, 1, row.pack(-1, nan, 2.5, 0, 2, 7, 0.5)),
        ],
    ).to_pylist()
    assert first["header"]["timestamp"] == {"seconds": UTC_NS // 10**9, "nanoseconds": 3}
    assert first["velocity"] is None
    assert first["position"]["x"] == 1.5
    assert math.isnan(first["position"]["y"])
    assert (first["status"]["satellites"], first["status"]["hdop"]) == (None, None)
    assert second["header"]["timestamp"] is None
    assert math.isnan(second["position"]["x"])
    assert second["velocity"]["x"] == 2.5
    assert (second["status"]["satellites"], second["status"]["hdop"]) == (7, 0.5)


def test_a_required_code_that_is_not_known_is_named():
    fields = (
        Field("position.x", "<f8", "deg"),
        Field("status.status", "<i1", "1", null=-1),
        Field("status.service", "<u2", "1"),
    )
    gps = LaneSchema("gps", "g", "GPS", 1.0, 0.1, fields)
    with pytest.raises(UnmappableError, match=r"status\.status is required"):
        table(gps, [data(0, 1, struct.pack("<dbH", 1.0, -1, 1))])


def test_the_counter_is_the_sequence_number_and_shows_the_holes():
    records = [data(5, 3, bytes(36)), data(100, 2, bytes(24))]
    assert values(imu(), records, "header.sample_counter") == [5, 6, 7, 100, 101]


def test_a_picture_is_its_bytes_and_its_format():
    camera = LaneSchema("camera", "cam", "CompressedImage", 10.0, 0.01, FIELDS, BLOB)
    row = bytes(camera.row_bytes)
    pictures = [b"one", b"", b"three" * 1000]
    records = [data(i, 1, row + one, 5000 + i, 0) for i, one in enumerate(pictures)]
    found = table(camera, records, batch_bytes=10)
    assert found.column("data").to_pylist() == pictures
    assert found.column("format").to_pylist() == ["jpeg"] * 3


def test_batches_are_bounded_in_rows_and_in_bytes():
    records = [data(i * 10, 10, bytes(120), 5000 + i * 100) for i in range(10)]
    sizes = [one.num_rows for one in batches(imu(), records, RATE_ONE, batch_rows=25)]
    assert sizes == [20, 20, 20, 20, 20]  # each is a file on the server: no crumbs
    sizes = [one.num_rows for one in batches(imu(), records[:2], RATE_ONE, batch_rows=7)]
    assert sizes == [7, 3, 7, 3]
    camera = LaneSchema("camera", "cam", "CompressedImage", 10.0, 0.01, FIELDS, BLOB)
    frames = [data(i, 1, bytes(camera.row_bytes + 400), 5000 + i, 0) for i in range(5)]
    sizes = [one.num_rows for one in batches(camera, frames, RATE_ONE, batch_bytes=1000)]
    assert sizes == [2, 2, 1]


def test_the_rows_do_not_depend_on_the_bounds_of_a_batch():
    records = [data(i * 10, 10, bytes(range(120)), 5000 + i * 95) for i in range(10)]
    whole = table(imu(), records)
    assert table(imu(), records, batch_rows=7).equals(whole)
    assert table(imu(), records, batch_rows=33).equals(whole)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 12)), min_size=1, max_size=20),
    st.integers(0, 20),
    st.lists(st.integers(1, 300), min_size=1, max_size=5, unique=True),
)
def test_stamps_rise_and_are_the_mapping_wherever_that_rises(records, period_ns, knots):
    mapping = Mapping(tuple((at, UTC_NS + at * 101 // 100) for at in sorted(knots)), "gps", 1)
    stamps = Stamps(mapping)
    found: list[int] = []
    due: list[int] = []
    boot_ns = 0
    for gap, rows in records:
        boot_ns += gap
        found += stamps.of(boot_ns, period_ns, rows)
        due += [mapping.utc_ns(boot_ns + i * period_ns) for i in range(rows)]
        boot_ns += rows * period_ns
    assert all(a < b for a, b in itertools.pairwise(found))
    last = -math.inf
    for stamp, exact in zip(found, due, strict=True):
        assert stamp == max(exact, last + 1)
        last = stamp


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=12),
    st.integers(0, 20),
    st.lists(st.integers(4900, 6500), min_size=1, max_size=6, unique=True),
    st.sampled_from([100, 101, 90]),
)
def test_rows_are_the_same_in_however_many_records_they_came(sizes, period_ns, knots, rate):
    mapping = Mapping(tuple((at, UTC_NS + at * rate // 100) for at in sorted(knots)), "gps", 1)
    rows = sum(sizes)
    raw = struct.pack(f">{6 * rows}h", *range(6 * rows))
    whole = table(imu(), [data(3, rows, raw, period_ns=period_ns)], mapping)
    cut, at = [], 0
    for size in sizes:
        payload = raw[12 * at : 12 * (at + size)]
        cut.append(data(3 + at, size, payload, 5000 + at * period_ns, period_ns))
        at += size
    assert table(imu(), cut, mapping).equals(whole)
    due = [mapping.utc_ns(5000 + number * period_ns) for number in range(rows)]
    found = whole.column("timestamp_ns").to_pylist()
    last = -math.inf
    for stamp, exact in zip(found, due, strict=True):
        assert stamp == max(exact, last + 1)
        last = stamp
    numbers = [one["sample_counter"] for one in whole.column("header").to_pylist()]
    assert numbers == list(range(3, 3 + rows))


def test_a_gap_in_time_or_in_numbers_or_another_period_is_no_longer_record():
    raw = bytes(24)
    records = [
        data(0, 2, raw, 5000, 10),
        data(2, 2, raw, 5020, 10),
        data(5, 2, raw, 5040, 10),  # a number is missing
        data(7, 2, raw, 5070, 10),  # time passed
        data(9, 2, raw, 5090, 20),
    ]
    found = table(imu(), records)
    numbers = [one["sample_counter"] for one in found.column("header").to_pylist()]
    assert numbers == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    times = [one - UTC_NS + 1000 for one in found.column("timestamp_ns").to_pylist()]
    assert times == [5000, 5010, 5020, 5030, 5040, 5050, 5070, 5080, 5090, 5110]


def test_the_first_stamp_is_later_than_what_was_sent_before():
    stamps = [*Stamps(RATE_ONE, UTC_NS + 50).of(1000, 20, 5)]
    assert stamps == [UTC_NS + 51, UTC_NS + 52, UTC_NS + 53, UTC_NS + 60, UTC_NS + 80]


def test_an_unknown_ontology_and_a_column_that_nothing_fills_are_named():
    with pytest.raises(UnmappableError, match="unknown ontology 'Wheel'"):
        arrow_schema(LaneSchema("w", "w", "Wheel", 1.0, 0.1, (Field("a", "<u1", "1"),)))
    with pytest.raises(UnmappableError, match="requires 'angular_velocity'"):
        arrow_schema(LaneSchema("i", "i", "IMU", 1.0, 0.1, (Field("acceleration.x", "<f4", "1"),)))
    status = (Field("position.x", "<f8", "deg"), Field("status.status", "<i1", "1"))
    with pytest.raises(UnmappableError, match=r"requires 'status\.service'"):
        arrow_schema(LaneSchema("g", "g", "GPS", 1.0, 0.1, status))


def test_a_value_outside_of_its_column_is_named():
    fields = (
        Field("position.x", "<f8", "deg"),
        Field("status.status", "<i4", "1"),
        Field("status.service", "<u2", "1"),
    )
    gps = LaneSchema("gps", "g", "GPS", 1.0, 0.1, fields)
    with pytest.raises(UnmappableError, match=r"status\.status"):
        table(gps, [data(0, 1, struct.pack("<diH", 1.0, 1000, 1))])


@pytest.mark.parametrize("tag", ["IMU", "GPS", "CompressedImage", "Temperature", "Magnetometer"])
def test_the_schema_is_the_ontology_to_the_letter(tag):
    lanes = {
        "IMU": imu(),
        "GPS": LaneSchema("g", "g", "GPS", 1.0, 0.1, (Field("position.x", "<f8", "deg"),)),
        "CompressedImage": LaneSchema("c", "c", "CompressedImage", 1.0, 0.1, FIELDS, BLOB),
        "Temperature": scalar(Field("value", "<i2", "K")),
        "Magnetometer": LaneSchema(
            "m", "m", "Magnetometer", 1.0, 0.1, (Field("magnetic_field.x", "<i2", "T"),)
        ),
    }
    schema = lanes[tag]
    payload = bytes(schema.row_bytes) + (b"x" if schema.blob else b"")
    assert table(schema, [data(0, 1, payload, 5000, 0)]).schema == ontology.schema(tag)
