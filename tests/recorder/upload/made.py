"""A spool made by the real code from known samples, and what the server must hold of it."""

from __future__ import annotations

import json
import random
import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers import camera
from drivers.base import Field
from recorder import record
from recorder.clock import boot_id, boot_ns, system_anchor
from recorder.config import MIB, Config, Lane, Upload, Vehicle
from recorder.config import Spool as SpoolSettings
from recorder.mosaico import MosaicoClient
from recorder.ring import RingReader, RingWriter
from recorder.ring_files import attach
from recorder.schema import LaneSchema
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.journal import Journal
from recorder.spool.recording import Recording
from recorder.spool.spool import Spool
from recorder.time_model import TimeModel
from tests.known import known

SCALE = 9.80665 / 8192
PERIOD_NS = 5_000_000
BURST = 10
UTC_NS = 1_700_000_000_123_456_789
IMU = LaneSchema(
    "imu",
    "mpu6050",
    "IMU",
    200.0,
    0.03,
    tuple(
        Field(f"{what}.{axis}", ">i2", "1", scale=SCALE)
        for what in ("acceleration", "angular_velocity")
        for axis in "xyz"
    ),
    metadata={"mounting": "roof", "no.dots": 1},
)
GPS = LaneSchema(
    "gps",
    "nmea_gps",
    "GPS",
    10.0,
    0.001,
    (
        Field("utc_ns", "<i8", "ns", null=-(2**63)),
        *(Field(f"position.{axis}", "<f8", "deg") for axis in "xyz"),
        Field("velocity.x", "<f8", "m/s"),
        Field("status.status", "<i1", "1"),
        Field("status.service", "<u2", "1"),
        Field("sentences", "<u2", "1"),
    ),
)
CAMERA = LaneSchema("camera", "cam", "CompressedImage", 10.0, 0.01, camera.FIELDS, camera.BLOB)
SCHEMAS = (GPS, IMU, CAMERA)
_PICTURE = struct.Struct("<QIHH")
#: What `flat` makes of NaN, which equals nothing.
NAN = "nan"
FIX = struct.Struct("<qddddbHH")


def picture_row(number: int, picture: bytes) -> bytes:
    """Return the row in front of a picture; what the uploader does not use of it is zero."""
    known = _PICTURE.pack(number, zlib.crc32(picture), 640, 480)
    return known + bytes(CAMERA.row_bytes - len(known))


class Drive:
    """One recording without processes: rings, a spool, and a session between them."""

    def __init__(self, folder: Path, schemas: Sequence[LaneSchema] = SCHEMAS) -> None:
        self.folder = folder
        self.schemas = {one.lane: one for one in schemas}
        self.spool = Spool.make(folder / "data" / "spool")
        self.random = random.Random(7)
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in self.schemas}
        (folder / "run" / "rings").mkdir(parents=True, exist_ok=True)
        self.begin()

    def begin(self, age_s: float = 0) -> None:
        """Begin a session, as if so long ago."""
        lanes = [LaneLedger(one.lane, rate_hz=one.rate_hz) for one in self.schemas.values()]
        self.id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        self.start_ns = boot_ns() - round(age_s * 1e9)
        session = Session(
            self.id,
            boot_id().hex(),
            "EdgeRecording",
            "",
            "car 7",
            details={"route.no": 7},
            announced_boot_ns=self.start_ns,
            lanes=lanes,
        )
        self.recording = Recording.announce(self.spool, session, {}, 65_536)
        self.rows = {name: [] for name in self.schemas}

    def config(self, url: str, **upload: Any) -> Config:
        """Return settings with small parts; `upload` overrides."""
        settings = {"mode": "after_close", "server": url, "part_bytes": MIB, "part_s": 3600.0}
        return Config(
            lanes=[Lane(name="imu", driver="mpu6050")],
            vehicle=Vehicle(name="car 7"),
            spool=SpoolSettings(directory=self.folder / "data", run_dir=self.folder / "run"),
            upload=Upload(**{**settings, **upload}),
        )

    def imu(self, bursts: int) -> None:
        """Acquire bursts of IMU rows."""
        for _ in range(bursts):
            counts = [self.random.randint(-32768, 32767) for _ in range(6 * BURST)]
            at_ns = self._next_ns("imu")
            seqno = self._put(IMU, [struct.pack(f">{6 * BURST}h", *counts)], BURST, at_ns)
            for i in range(BURST):
                row = counts[6 * i : 6 * i + 6]
                values = dict(zip((one.name for one in IMU.fields), row, strict=True))
                scaled = {name: raw * SCALE for name, raw in values.items()}
                self._book("imu", at_ns + i * PERIOD_NS, seqno + i, scaled)

    def gps(self, epochs: int) -> None:
        """Acquire GPS epochs; every third without a fix."""
        for i in range(epochs):
            at_ns = self._next_ns("gps")
            fixed = i % 3 != 2
            utc_ns = UTC_NS + i if fixed else None
            place = [self.random.random() for _ in range(4)] if fixed else [None] * 4
            raw = [float("nan") if one is None else one for one in place]
            row = FIX.pack(utc_ns if fixed else -(2**63), *raw, int(fixed), 3, 4)
            seqno = self._put(GPS, [row], 1, at_ns)
            names = ("position.x", "position.y", "position.z", "velocity.x")
            # Without a fix the required position is NaN and the velocity is not there at all.
            due = place if fixed else [NAN, NAN, NAN, None]
            values = {**dict(zip(names, due, strict=True)), "status.status": int(fixed)}
            self._book("gps", at_ns, seqno, {**values, "header.utc_ns": utc_ns})

    def camera(self, frames: int, size_bytes: int = 20_000) -> None:
        """Acquire pictures."""
        for _ in range(frames):
            at_ns = self._next_ns("camera")
            picture = self.random.randbytes(size_bytes)
            number = len(self.rows["camera"])
            row = picture_row(number, picture)
            seqno = self._put(CAMERA, [row, picture], 1, at_ns)
            self._book("camera", at_ns, seqno, {"data": picture, "format": "jpeg"})

    def event(self, schema: LaneSchema, facts: dict[str, Any]) -> None:
        """Let a lane say something of itself."""
        ring = self._ring(schema)
        text = json.dumps(facts).encode()
        ring.put(record.EVENT, 0, ring.state, [text], boot_ns())
        self._take(ring)

    def _next_ns(self, lane: str) -> int:
        rows = self.rows[lane]
        return rows[-1]["boot_ns"] + PERIOD_NS if rows else self.start_ns + 1_000

    def _book(self, lane: str, at_ns: int, seqno: int, values: dict[str, Any]) -> None:
        self.rows[lane].append({"boot_ns": at_ns, "header.sample_counter": seqno, **values})

    def _ring(self, schema: LaneSchema) -> RingWriter:
        return attach(self.folder / "run" / "rings", schema, 1 << 20)

    def _put(self, schema: LaneSchema, payload: list[bytes], rows: int, at_ns: int) -> int:
        ring = self._ring(schema)
        seqno = ring.state.seqno
        booked = replace(
            ring.state, expected=ring.state.expected + rows, boot_ns=at_ns, period_ns=PERIOD_NS
        )
        assert ring.put(record.DATA, rows, booked, payload, at_ns)
        self._take(ring)
        return seqno

    def _take(self, ring: RingWriter) -> None:
        reader = RingReader(ring.path)
        lane = self.recording.lanes[ring.schema.lane]
        reader.position = max(reader.position, lane.account.durable_position(reader.epoch))
        self.recording.take(reader, None)
        # Only appended: `commit` makes it durable. Tests do not cut the power.
        reader.free(reader.position)
        reader.close()
        ring.close()

    def tell_time(self, utc_ns: int = UTC_NS) -> None:
        """A GPS said what time it was when the session was announced."""
        # Without the raw clock: how far NTP slewed this machine's is nothing that tests can know.
        anchor = record.Anchor(self.start_ns, 0, utc_ns, 1000, "gps")
        log = Journal(self.spool.anchors_path(boot_id().hex()))
        log.record(vars(anchor))
        log.close()

    def beat(self) -> None:
        """Give a heartbeat and commit; readers may see it all."""
        anchors = self.spool.anchors(boot_id().hex())
        self.recording.beat(TimeModel(anchors or [system_anchor()]))
        self.commit()

    def commit(self) -> None:
        """Commit and publish the watermark."""
        self.recording.commit().publish(self.folder / "run" / "watermark")

    def end(self, reason: str = "shutdown") -> None:
        """End the session."""
        self.beat()
        self.recording.end(reason, is_destination=False)

    def expected(self, lane: str, utc_ns: int = UTC_NS) -> list[dict[str, Any]]:
        """Return the rows that the server must hold, worked out from what was acquired."""
        found: list[dict[str, Any]] = []
        for row in self.rows[lane]:
            plain = {key: value for key, value in row.items() if key != "boot_ns"}
            found.append({"timestamp_ns": row["boot_ns"] - self.start_ns + utc_ns, **plain})
        return found


def flat(row: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return a nested row by paths; `header.timestamp` as ns."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        path = f"{above}{key}"
        if path == "header.timestamp":
            seconds = None if value is None else value["seconds"] * 10**9 + value["nanoseconds"]
            found["header.utc_ns"] = seconds
        elif isinstance(value, dict):
            found.update(flat(value, f"{path}."))
        else:
            found[path] = NAN if value != value else value  # noqa: PLR0124 - NaN
    return found


def server_rows(url: str, sequence: str, lane: str, key: str | None = None) -> list[dict[str, Any]]:
    """Return all rows that count of a lane on the server, parts in order of time."""
    rows: list[dict[str, Any]] = []
    with MosaicoClient.connect_url(url, api_key=key) as client:
        found = known(client.describe_sequence(sequence))
        names = [one.locator for one in found.topics]
        summary = max(one for one in names if "/recorder/summary" in one)
        topics = known(client.describe_topic(summary)).user_metadata["manifest"]["topics"]
        for one in (each["topic"] for each in topics if each["lane"] == lane):
            for batch in client.read(f"{sequence}/{one}"):
                rows += [flat(row) for row in batch.to_pylist()]
    return rows


def differences(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[str]:
    """Return where the server's rows are not the expected ones; absent keys must be null."""
    told = [] if len(rows) == len(expected) else [f"{len(rows)} rows, not {len(expected)}"]
    for number, (row, due) in enumerate(zip(rows, expected, strict=False)):
        wrong = {key: (row.get(key), value) for key, value in due.items() if row.get(key) != value}
        if wrong:
            told.append(f"row {number}: {wrong}")
    return told[:5]
