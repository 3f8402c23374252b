from __future__ import annotations

import csv
import json
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from click.testing import CliRunner

from drivers import camera
from drivers.base import Field
from recorder import record
from recorder.cli import recorder as command_line
from recorder.clock import anchor_now, boot_id, boot_ns
from recorder.errors import RecorderError
from recorder.export import export_session
from recorder.record import Anchor
from recorder.ring import RingReader, RingWriter
from recorder.ring_files import attach
from recorder.schema import LaneSchema
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.journal import Journal
from recorder.spool.recording import Recording
from recorder.spool.spool import Spool
from recorder.spool.watermark import Watermark

ID = "11111111-2222-3333-4444-555555555555"
SCALE = 0.0023942
AXES = ("acceleration.x", "acceleration.y", "acceleration.z")
RATES = ("angular_velocity.x", "angular_velocity.y", "angular_velocity.z")
IMU = LaneSchema(
    "imu", "mpu", "IMU", 200.0, 0.03, tuple(Field(n, ">i2", "1", SCALE) for n in AXES + RATES)
)
CAMERA = LaneSchema("camera", "cam", "CompressedImage", 10.0, 0.01, camera.FIELDS, camera.BLOB)
GPS = LaneSchema(
    "gps",
    "nmea",
    "GPS",
    10.0,
    0.001,
    (
        Field("utc_ns", "<i8", "ns", null=-1),
        *(Field(f"position.{axis}", "<f8", "1") for axis in "xyz"),
        Field("velocity.x", "<f8", "m/s"),
    ),
)
PERIOD_NS = 5_000_000
ROWS = 10
FIRST_NS = 50_000_000_000


@dataclass
class Recorder:
    """A real recording without processes: rings, a spool, and a session between them."""

    folder: Path
    recording: Recording

    @property
    def spool(self) -> Spool:
        return self.recording.spool

    def ring(self, schema: LaneSchema) -> RingWriter:
        return attach(self.folder / "rings", schema, 1 << 20)

    def store(self, ring: RingWriter) -> Watermark:
        """Bring to disk what the ring holds, as the spooler does."""
        reader = RingReader(ring.path)
        lane = self.recording.lanes[ring.schema.lane]
        reader.position = max(reader.position, lane.account.durable_position(reader.epoch))
        self.recording.take(reader, None)
        water = self.recording.commit()
        reader.free(reader.position)
        reader.close()
        return water

    def tell_time(self, anchors: Sequence[Anchor]) -> None:
        log = self.spool.anchors_path(boot_id().hex())
        self.recording.session.beat(FIRST_NS, 1_000_000_000_000_000_000)
        if anchors:
            journal = Journal(log)
            for anchor in anchors:
                journal.record(vars(anchor))
            journal.close()

    def end(self) -> None:
        self.recording.note_session()
        self.recording.end("shutdown", is_destination=True)

    def segments(self, lane: str) -> list[Path]:
        return self.spool.segments(ID, lane)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    lanes = [LaneLedger(one.lane, rate_hz=one.rate_hz) for one in (IMU, CAMERA, GPS)]
    session = Session(ID, boot_id().hex(), "EdgeRecording", "drive", "car", lanes=lanes)
    (tmp_path / "rings").mkdir()
    spool = Spool.make(tmp_path / "spool")
    found = Recorder(tmp_path, Recording.announce(spool, session, {}, 4096))
    yield found
    found.recording.close()


def put(ring: RingWriter, rows: int, payload: Sequence[bytes], at_ns: int, period_ns: int) -> None:
    expected = ring.state.expected + rows
    state = replace(ring.state, expected=expected, boot_ns=at_ns, period_ns=period_ns)
    assert ring.put(record.DATA, rows, state, payload, at_ns)


def motion(number: int) -> tuple[int, ...]:
    return tuple((number * 7 + axis * 1013) % 30_000 - 15_000 for axis in range(6))


def put_motion(ring: RingWriter, first: int, records: int) -> None:
    """Put an event, which is no row, and so many bursts behind it."""
    ring.put(record.EVENT, 0, ring.state, [b'{"event": "opened"}'], FIRST_NS)
    for index in range(first, first + records):
        numbers = range(index * ROWS, (index + 1) * ROWS)
        payload = b"".join(struct.pack(">6h", *motion(one)) for one in numbers)
        put(ring, ROWS, [payload], FIRST_NS + index * ROWS * PERIOD_NS, PERIOD_NS)


def imu_recording(recorder: Recorder, records: int = 40) -> list[Path]:
    """Record so many bursts in several segments, and end."""
    ring = recorder.ring(IMU)
    for first in range(0, records, 10):
        put_motion(ring, first, 10)
        recorder.store(ring)
    ring.close()
    recorder.tell_time([gps_anchor()])
    recorder.end()
    assert len(recorder.segments("imu")) > 1
    return recorder.segments("imu")


def gps_anchor() -> Anchor:
    return Anchor(FIRST_NS, FIRST_NS, 1_700_000_000_000_000_000, 1000, "gps")


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_record(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "session.json").read_text())
    return found


def numbers_in(path: Path) -> list[int]:
    rows = pyarrow.parquet.read_table(path).column("header").to_pylist()
    return [row["sample_counter"] for row in rows]


def test_every_imu_row_is_in_the_parquet_file_with_its_time(
    recorder: Recorder, tmp_path: Path
) -> None:
    imu_recording(recorder)
    found = export_session(recorder.spool, ID, tmp_path / "out", "parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "imu.parquet").to_pylist()
    assert len(rows) == 400
    for number, row in enumerate(rows):
        raw = motion(number)
        xyz = [row[name][axis] for name in ("acceleration", "angular_velocity") for axis in "xyz"]
        assert xyz == [value * SCALE for value in raw]
        assert row["header"]["sample_counter"] == number
        assert row["timestamp_ns"] == 1_700_000_000_000_000_000 + number * PERIOD_NS
    assert found.is_whole
    # The one anchor's bound, and 600 ppm over the 399 periods behind it.
    assert found.clock_source == "gps"
    assert found.uncertainty_ns == 1000 + 399 * PERIOD_NS * 6 // 10_000
    assert [(one.lane, one.files, one.rows, one.missing) for one in found.lanes] == [
        ("imu", ["imu.parquet"], 400, 0)
    ]


def test_the_session_record_lies_beside_the_rows(recorder: Recorder, tmp_path: Path) -> None:
    imu_recording(recorder)
    export_session(recorder.spool, ID, tmp_path / "out", "csv")
    stored = read_record(tmp_path / "out")
    export = stored.pop("export")
    assert stored.pop("marks") == []
    assert stored == json.loads(json.dumps(recorder.spool.session(ID).to_dict()))
    assert (stored["id"], stored["state"], stored["lanes"][0]["stored"]) == (ID, "closed", 400)
    assert export["lanes"][0]["rows"] == 400
    assert export["clock_source"] == "gps"


def test_csv_has_a_column_for_what_the_lane_fills_and_no_other(
    recorder: Recorder, tmp_path: Path
) -> None:
    imu_recording(recorder)
    export_session(recorder.spool, ID, tmp_path / "out", "csv")
    rows = read_csv(tmp_path / "out" / "imu.csv")
    assert list(rows[0]) == ["timestamp_ns", "header.sample_counter", *AXES, *RATES]
    assert len(rows) == 400
    for number, row in enumerate(rows):
        assert [float(row[name]) for name in AXES + RATES] == [
            one * SCALE for one in motion(number)
        ]


def test_what_is_not_known_is_an_empty_cell(recorder: Recorder, tmp_path: Path) -> None:
    ring = recorder.ring(GPS)
    for index, (utc_ns, north) in enumerate([(-1, math.nan), (1_700_000_000_500_000_000, 1.5)]):
        payload = struct.pack("<q4d", utc_ns, 45.0625, 7.5, 240.0, north)
        put(ring, 1, [payload], FIRST_NS + index * 100_000_000, 0)
    recorder.store(ring)
    ring.close()
    recorder.tell_time([gps_anchor()])
    recorder.end()
    export_session(recorder.spool, ID, tmp_path / "out", "csv")
    rows = read_csv(tmp_path / "out" / "gps.csv")
    assert [row["velocity.x"] for row in rows] == ["", "1.5"]
    assert [row["header.timestamp.seconds"] for row in rows] == ["", "1700000000"]
    assert [row["header.timestamp.nanoseconds"] for row in rows] == ["", "500000000"]
    assert [float(row["position.x"]) for row in rows] == [45.0625, 45.0625]


def pictures_recording(recorder: Recorder) -> list[bytes]:
    pictures = [
        camera.JPEG_START + bytes([number]) * (500 + number) + camera.JPEG_END
        for number in range(25)
    ]
    ring = recorder.ring(CAMERA)
    for number, picture in enumerate(pictures):
        at_ns = FIRST_NS + number * 100_000_000
        shot = camera.Shot(number, at_ns, (640, 480))
        sample = camera.sample(shot, picture, camera.Lost())
        put(ring, 1, [bytes(part) for part in sample.payload], at_ns, 0)
    recorder.store(ring)
    ring.close()
    recorder.tell_time([gps_anchor()])
    recorder.end()
    return pictures


def test_pictures_are_files_of_their_own_beside_the_csv(recorder: Recorder, tmp_path: Path) -> None:
    pictures = pictures_recording(recorder)
    export_session(recorder.spool, ID, tmp_path / "out", "csv")
    rows = read_csv(tmp_path / "out" / "camera.csv")
    assert rows[0]["file"] == "camera/00000001.jpg"
    assert [(tmp_path / "out" / row["file"]).read_bytes() for row in rows] == pictures
    assert list(rows[0]) == ["timestamp_ns", "header.sample_counter", "file"]
    assert len(list((tmp_path / "out" / "camera").iterdir())) == 25


def test_pictures_are_a_column_of_the_parquet_file(recorder: Recorder, tmp_path: Path) -> None:
    pictures = pictures_recording(recorder)
    export_session(recorder.spool, ID, tmp_path / "out", "parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out" / "camera.parquet")
    assert table.column("data").to_pylist() == pictures


def test_a_torn_tail_costs_only_the_record_that_it_tore(recorder: Recorder, tmp_path: Path) -> None:
    last = imu_recording(recorder)[-1]
    last.write_bytes(last.read_bytes()[:-1])
    found = export_session(recorder.spool, ID, tmp_path / "out", "parquet")
    assert numbers_in(tmp_path / "out" / "imu.parquet") == list(range(390))
    assert found.lanes[0].missing == 0  # nothing behind it shows that it was there
    assert found.is_whole


def test_damage_in_the_middle_is_counted_and_what_follows_is_there(
    recorder: Recorder, tmp_path: Path
) -> None:
    first = imu_recording(recorder)[0]
    raw = bytearray(first.read_bytes())
    third_burst = [at for at in range(len(raw)) if raw.startswith(record.MAGIC, at)][3]
    raw[third_burst + record.HEADER_BYTES + 5] ^= 1
    first.write_bytes(raw)
    found = export_session(recorder.spool, ID, tmp_path / "out", "parquet")
    kept = [*range(20), *range(30, 400)]
    assert numbers_in(tmp_path / "out" / "imu.parquet") == kept
    assert (found.lanes[0].rows, found.lanes[0].missing) == (390, 10)


def test_a_segment_without_a_readable_head_is_named(recorder: Recorder, tmp_path: Path) -> None:
    paths = imu_recording(recorder)
    raw = bytearray(paths[0].read_bytes())
    raw[20] ^= 1
    paths[0].write_bytes(raw)
    log = recorder.spool.journal_path(ID)
    kept = [line for line in log.read_bytes().splitlines(True) if b'"segment"' not in line]
    log.write_bytes(b"".join(kept))  # it has a second copy of each head
    found = export_session(recorder.spool, ID, tmp_path / "out", "parquet")
    assert found.lanes[0].unreadable == [paths[0].name]
    assert not found.is_whole
    assert numbers_in(tmp_path / "out" / "imu.parquet")[-1] == 399
    assert read_record(tmp_path / "out")["export"]["lanes"][0]["unreadable"] == [paths[0].name]


def test_another_range_in_mid_session_begins_a_file_of_its_own(
    recorder: Recorder, tmp_path: Path
) -> None:
    ring = recorder.ring(IMU)
    put_motion(ring, 0, 3)
    recorder.store(ring)
    ring.close()
    doubled = replace(IMU, fields=tuple(replace(one, scale=2 * SCALE) for one in IMU.fields))
    ring = recorder.ring(doubled)
    put_motion(ring, 2, 2)  # by its time it begins before the first one's end
    recorder.store(ring)
    ring.close()
    recorder.tell_time([gps_anchor()])
    recorder.end()
    found = export_session(recorder.spool, ID, tmp_path / "out", "parquet")
    assert found.lanes[0].files == ["imu.parquet", "imu-2.parquet"]
    assert (found.lanes[0].rows, found.lanes[0].missing) == (50, 0)
    first, second = (
        pyarrow.parquet.read_table(tmp_path / "out" / name).to_pylist()
        for name in found.lanes[0].files
    )
    assert second[0]["acceleration"]["x"] == motion(20)[0] * (2 * SCALE)
    assert second[0]["timestamp_ns"] > first[-1]["timestamp_ns"]


def test_without_any_clock_the_last_heartbeat_tells_the_time(
    recorder: Recorder, tmp_path: Path
) -> None:
    ring = recorder.ring(IMU)
    put_motion(ring, 0, 1)
    recorder.store(ring)
    ring.close()
    recorder.tell_time([])  # a heartbeat at FIRST_NS, which by the vehicle's clock was 10**18
    recorder.end()
    found = export_session(recorder.spool, ID, tmp_path / "out", "parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out" / "imu.parquet")
    assert table.column("timestamp_ns")[0].as_py() == 10**18
    assert found.clock_source == "none"


def test_nothing_beyond_the_watermark_is_told(recorder: Recorder, tmp_path: Path) -> None:
    ring = recorder.ring(IMU)
    put_motion(ring, 0, 2)
    water = recorder.store(ring)
    put_motion(ring, 2, 2)
    recorder.store(ring)
    ring.close()
    recorder.tell_time([anchor_now(boot_ns(), 10**18, 0, "gps")])
    recorder.end()
    export_session(recorder.spool, ID, tmp_path / "out", "parquet", water=water)
    assert numbers_in(tmp_path / "out" / "imu.parquet") == list(range(20))


def test_a_lane_that_cannot_be_laid_out_does_not_stop_the_others(
    recorder: Recorder, tmp_path: Path
) -> None:
    strange = recorder.ring(replace(GPS, ontology="Sonar"))
    put(strange, 1, [bytes(40)], FIRST_NS, 0)
    recorder.store(strange)
    strange.close()
    imu_recording(recorder)
    found = export_session(recorder.spool, ID, tmp_path / "out", "csv")
    gps, imu = found.lanes
    assert "unknown ontology 'Sonar'" in gps.error
    assert (gps.files, imu.rows, found.is_whole) == ([], 400, False)


def test_progress_rises_to_the_whole(recorder: Recorder, tmp_path: Path) -> None:
    paths = imu_recording(recorder)
    told: list[tuple[int, int]] = []
    export_session(
        recorder.spool, ID, tmp_path / "out", "csv", progress=lambda *one: told.append(one)
    )
    total = sum(path.stat().st_size for path in paths)
    assert len(told) == len(paths)
    assert told == sorted(told)
    assert told[-1] == (total, total)


def test_an_export_that_was_broken_off_has_no_session_record(
    recorder: Recorder, tmp_path: Path
) -> None:
    def break_off(done: int, total: int) -> None:
        raise KeyboardInterrupt

    imu_recording(recorder)
    with pytest.raises(KeyboardInterrupt):
        export_session(recorder.spool, ID, tmp_path / "out", "csv", progress=break_off)
    assert not (tmp_path / "out" / "session.json").exists()


def test_a_folder_with_something_in_it_is_left_alone(recorder: Recorder, tmp_path: Path) -> None:
    imu_recording(recorder)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "imu.csv").write_text("mine")
    with pytest.raises(RecorderError, match="is not empty"):
        export_session(recorder.spool, ID, tmp_path / "out", "csv")
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["imu.csv"]
    assert (tmp_path / "out" / "imu.csv").read_text() == "mine"


def test_an_unknown_form_is_refused_with_those_that_are_known(
    recorder: Recorder, tmp_path: Path
) -> None:
    with pytest.raises(RecorderError, match="'xls'; known are parquet, csv"):
        export_session(recorder.spool, ID, tmp_path / "out", "xls")
    assert not (tmp_path / "out").exists()


def test_an_unknown_session_makes_no_folder(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match="no session"):
        export_session(recorder.spool, "0" * 36, tmp_path / "out", "csv")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_a_recording_of_a_pulled_card(
    recorder: Recorder, tmp_path: Path
) -> None:
    imu_recording(recorder)
    target = tmp_path / "out"
    command = ["export", ID[:8], "--spool", str(recorder.spool.directory), "--to", str(target)]
    done = CliRunner().invoke(command_line, [*command, "--format", "csv", "--json"])
    assert done.exit_code == 0, done.output
    lane = next(one for one in json.loads(done.output)["lanes"] if one["lane"] == "imu")
    rows = (target / lane["files"][0]).read_text().splitlines()
    assert (lane["rows"], lane["missing"], len(rows)) == (400, 0, 401)
    assert json.loads((target / "session.json").read_text())["id"] == ID
    again = CliRunner().invoke(command_line, command)
    assert again.exit_code == 1
    assert "is not empty" in again.output
