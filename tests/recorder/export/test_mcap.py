"""Recordings as MCAP, read back with the format's own reader."""

from __future__ import annotations

import base64
import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mcap.reader import make_reader

from recorder.cli import recorder as command_line
from recorder.errors import RecorderError
from recorder.export import export_session
from tests.recorder.export.test_export import (
    FIRST_NS,
    GPS,
    ID,
    IMU,
    PERIOD_NS,
    SCALE,
    Recorder,
    gps_anchor,
    imu_recording,
    motion,
    pictures_recording,
    put,
    put_motion,
    recorder,
)

UTC_NS = 1_700_000_000_000_000_000
__all__ = ["recorder"]
#: What Foxglove's own schemas ask of a message (github.com/foxglove/foxglove-sdk, 2026-08-17).
_STAMPED = {"timestamp", "frame_id"}
REQUIRED = {
    "foxglove.CompressedImage": {*_STAMPED, "data", "format"},
    "foxglove.CompressedVideo": {*_STAMPED, "data", "format"},
    "foxglove.LocationFix": {
        *(*_STAMPED, "latitude", "longitude", "altitude"),
        *("position_covariance", "position_covariance_type"),
    },
    "foxglove.Log": {"timestamp", "level", "message", "name", "file", "line"},
}


def exported(one: Recorder, out: Path) -> Path:
    found = export_session(one.spool, ID, out, "mcap")
    assert found.is_whole
    return out / "recording.mcap"


def read(path: Path) -> dict[str, list[tuple[int, int, Any]]]:
    """Return by topic the log time, number and message of each; schemas must describe them."""
    found: dict[str, list[tuple[int, int, Any]]] = {}
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file, validate_crcs=True).iter_messages():
            assert schema is not None
            assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
            plain = json.loads(message.data)
            described = json.loads(schema.data)
            assert described["title"] == schema.name
            fits(plain, described)
            assert plain.keys() >= REQUIRED.get(schema.name, {"timestamp"})
            assert message.log_time == message.publish_time
            row = message.log_time, message.sequence, plain
            found.setdefault(channel.topic, []).append(row)
    return found


def fits(value: Any, schema: dict[str, Any]) -> None:
    """Hold a value against the little of JSON Schema that the files use."""
    kinds: dict[str, Any] = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    if schema["type"] == "object":
        assert set(value) <= set(schema["properties"])
        for key, inner in value.items():
            fits(inner, schema["properties"][key])
    elif schema["type"] == "array":
        for inner in value:
            fits(inner, schema["items"])
    else:
        assert isinstance(value, kinds[schema["type"]])


def schemas(path: Path) -> dict[str, str]:
    """Return the name of the schema by topic."""
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    return {one.topic: summary.schemas[one.schema_id].name for one in summary.channels.values()}


def test_every_imu_row_is_there_in_its_order_with_its_time(
    recorder: Recorder, tmp_path: Path
) -> None:
    imu_recording(recorder)
    path = exported(recorder, tmp_path / "out")
    rows = read(path)["/imu"]
    assert schemas(path)["/imu"] == "recorder.IMU"
    assert [number for _, number, _ in rows] == list(range(400))
    for number, (utc_ns, _, row) in enumerate(rows):
        assert utc_ns == UTC_NS + number * PERIOD_NS
        assert row["timestamp"]["sec"] * 10**9 + row["timestamp"]["nsec"] == utc_ns
        xyz = [row[name][axis] for name in ("acceleration", "angular_velocity") for axis in "xyz"]
        assert xyz == [value * SCALE for value in motion(number)]


def test_pictures_come_as_foxglove_has_them(recorder: Recorder, tmp_path: Path) -> None:
    pictures = pictures_recording(recorder)
    path = exported(recorder, tmp_path / "out")
    assert schemas(path) == {"/camera": "foxglove.CompressedImage"}
    rows = [row for _, _, row in read(path)["/camera"]]
    assert [base64.b64decode(row["data"]) for row in rows] == pictures
    assert {(row["format"], row["frame_id"]) for row in rows} == {("jpeg", "camera")}


def test_fixes_are_places_and_what_has_none_is_a_row_all_the_same(
    recorder: Recorder, tmp_path: Path
) -> None:
    ring = recorder.ring(GPS)
    for index, place in enumerate([(45.0625, 7.5, 240.0), (math.nan,) * 3]):
        payload = struct.pack("<q4d", -1, *place, 1.5 if index == 0 else math.nan)
        put(ring, 1, [payload], FIRST_NS + index * 100_000_000, 0)
    recorder.store(ring)
    ring.close()
    recorder.tell_time([gps_anchor()])
    recorder.end()
    path = exported(recorder, tmp_path / "out")
    found = read(path)
    assert schemas(path) == {"/gps": "recorder.GPS", "/gps/fix": "foxglove.LocationFix"}
    ((utc_ns, _, fix),) = found["/gps/fix"]
    assert utc_ns == UTC_NS
    assert (fix["latitude"], fix["longitude"], fix["altitude"]) == (45.0625, 7.5, 240.0)
    assert (len(fix["position_covariance"]), fix["position_covariance_type"]) == (9, 0)
    first, second = [row for _, _, row in found["/gps"]]
    assert first["velocity"]["x"] == 1.5
    assert second.keys() == {"timestamp", "header"}


def test_marks_and_the_record_are_in_it(recorder: Recorder, tmp_path: Path) -> None:
    mark = {"boot_ns": FIRST_NS + PERIOD_NS, "label": "bump", "cause": "operator"}
    recorder.recording.note({"entry": "mark", **mark, "before_s": 1.0, "after_s": 2.0})
    imu_recording(recorder)
    path = exported(recorder, tmp_path / "out")
    ((utc_ns, _, told),) = read(path)["/recorder/marks"]
    assert utc_ns == UTC_NS + PERIOD_NS
    assert (told["message"], told["name"], told["level"]) == ("bump", "operator", 2)
    assert schemas(path)["/recorder/marks"] == "foxglove.Log"
    with path.open("rb") as file:
        (attached,) = make_reader(file).iter_attachments()
    record = json.loads(attached.data)
    beside = json.loads((tmp_path / "out" / "session.json").read_text())
    assert record == {key: value for key, value in beside.items() if key != "export"}
    assert record["marks"][0]["label"] == "bump"


def test_a_torn_tail_costs_only_the_record_that_it_tore(recorder: Recorder, tmp_path: Path) -> None:
    last = imu_recording(recorder)[-1]
    last.write_bytes(last.read_bytes()[:-1])
    rows = read(exported(recorder, tmp_path / "out"))["/imu"]
    assert [number for _, number, _ in rows] == list(range(390))


def test_a_lane_whose_set_up_changed_has_a_topic_for_each(
    recorder: Recorder, tmp_path: Path
) -> None:
    import dataclasses  # noqa: PLC0415 - beside its one use

    for first, schema in ((0, IMU), (2, dataclasses.replace(IMU, driver="another"))):
        ring = recorder.ring(schema)
        put_motion(ring, first, 2)
        recorder.store(ring)
        ring.close()
    recorder.tell_time([gps_anchor()])
    recorder.end()
    found = read(exported(recorder, tmp_path / "out"))
    assert {topic: len(rows) for topic, rows in found.items()} == {"/imu": 20, "/imu-2": 20}


def test_the_command_writes_it(recorder: Recorder, tmp_path: Path) -> None:
    imu_recording(recorder)
    arguments = ["export", ID[:4], "--spool", tmp_path, "--to", tmp_path / "out"]
    result = CliRunner().invoke(
        command_line, [*(str(one) for one in arguments), "--format", "mcap"]
    )
    assert result.exit_code == 0, result.output
    assert "recording.mcap" in result.output
    assert len(read(tmp_path / "out" / "recording.mcap")["/imu"]) == 400


def test_without_the_library_it_says_what_to_install(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imu_recording(recorder)
    monkeypatch.setitem(__import__("sys").modules, "mcap.writer", None)
    with pytest.raises(RecorderError, match=r"edge-recorder\[mcap\]"):
        export_session(recorder.spool, ID, tmp_path / "out", "mcap")
