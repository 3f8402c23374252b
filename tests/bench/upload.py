"""From the spool to a storing ground station on loopback, beside bare Arrow Flight and the SDK.

A part's stream is what the uploader does while it sends: read the spool and verify it, lay rows out
as columns, cut batches to size, work out the content's digest. The bare DoPut sends the same
batches, which lie ready in memory.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.flight as fl

from recorder.config import MIB, Config, Lane, Upload
from recorder.config import Spool as SpoolSettings
from recorder.mosaico import MosaicoClient, ontology
from recorder.upload.log import UploadLog
from recorder.upload.planner import Planner
from recorder.upload.rows import Extent, lane_batches
from recorder.upload.source import Source
from recorder.upload.state import Sizes
from recorder.uploader import upload_once
from tests.bench import push
from tests.bench.measure import Figure, interleaved, say, seconds
from tests.bench.readback import drained
from tests.bench.shelf import CAMERA, IMU, Shelf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from recorder.schema import LaneSchema
    from recorder.upload.parts import Part
    from tests.bench.sdk import Sdk

#: A part as the uploader makes it: 10 minutes at 1 kHz, 128 MiB of pictures.
BURST_ROWS, ROWS, BURSTS_PER_COMMIT = 50, 600_000, 500
FRAME_BYTES, FRAMES, FRAMES_PER_COMMIT = 300_000, 440, 40
#: Room enough that it is one part, as the peer's is one stream.
ONE_PART: Any = {"part_bytes": 256 * MIB, "part_s": 3600.0}
#: Frames: less than a part, and three parts.
SMALL_BACKLOG, LARGE_BACKLOG = 80, 1000
BACKLOG_LIMIT_S = 60.0


@dataclass(frozen=True)
class Amount:
    """What is uploaded: its name, how much, the unit of its speed, the least ratio to the peer."""

    name: str
    amount: float
    unit: str
    budget: float


def figures(disk: Path, url: str, sdk: Sdk) -> Iterator[Figure]:
    """Measure everything of this room.

    Args:
        disk: a folder on the disk.
        url: of the ground station.
        sdk: the SDK, connected to it.
    """
    burst = os.urandom(IMU.row_bytes * BURST_ROWS)
    with Shelf(disk, IMU, [burst], BURST_ROWS) as shelf:
        _fill(shelf, ROWS // BURST_ROWS, BURSTS_PER_COMMIT)
        what = Amount("IMU rows", ROWS, "rows/s", 0.9)
        yield from _lane(shelf, IMU, url, what)
    with Shelf(disk, CAMERA, _picture()) as shelf:
        _fill(shelf, FRAMES, FRAMES_PER_COMMIT)
        what = Amount("300 kB frames", FRAMES * FRAME_BYTES / 1e6, "MB/s", 0.8)
        yield from _lane(shelf, CAMERA, url, what)
    yield from push.figures(url, sdk)
    yield from _memory(disk, url)


def _picture() -> list[bytes]:
    return [bytes(CAMERA.row_bytes), os.urandom(FRAME_BYTES)]


def _fill(shelf: Shelf, records: int, per_commit: int) -> None:
    for _ in range(records // per_commit):
        shelf.put(per_commit)
        shelf.commit()
    shelf.end()


def _config(shelf: Shelf, lane: str, upload_folder: Path, upload: Upload) -> Config:
    """Return settings under which one spool is uploaded, with journals in a fresh folder."""
    (upload_folder / "spool").symlink_to(shelf.disk / "spool")
    return Config(
        lanes=[Lane(name=lane, driver="none")],
        spool=SpoolSettings(directory=upload_folder, run_dir=shelf.memory / "run"),
        upload=upload,
    )


def _lane(shelf: Shelf, schema: LaneSchema, url: str, what: Amount) -> Iterator[Figure]:
    station = _Station(url, schema)
    part, folder = _planned(shelf)
    made = list(lane_batches(part, folder))
    ours, whole, bare = interleaved(
        f"upload: {what.name} beside a bare DoPut",
        lambda: what.amount / station.put(Extent(Sizes()).over(lane_batches(part, folder))),
        lambda: what.amount / _uploaded_s(shelf, url, schema.lane, station),
        lambda: what.amount / station.bare_put(made),
    )
    station.close()
    told = f"{what.name}, a part's stream from the spool / bare DoPut"
    yield Figure(told, ours, bare, what.unit, what.budget)
    # With its plan (a second reading), questions, journal, session log and commit mark, none of
    # which the peer does.
    told = f"{what.name}, the upload's whole course / bare DoPut"
    yield Figure(told, whole, bare, what.unit, what.budget)


def _planned(shelf: Shelf) -> tuple[Part, Path]:
    """Plan the session's one part of its lane."""
    source = Source(shelf.spool, shelf.spool.session_ids()[-1])
    log = UploadLog(shelf.disk / "plan")
    found = Planner(source, log, Upload(**ONE_PART)).next_part()
    log.close()
    assert found is not None, "there is nothing to upload"
    return found.part, source.folder(found.part.lane)


def _uploaded_s(shelf: Shelf, url: str, lane: str, station: _Station) -> float:
    """Upload the session as a person would by hand: plan, journal, send, verify, conclude."""
    with tempfile.TemporaryDirectory(dir=shelf.disk) as folder:
        config = _config(shelf, lane, Path(folder), Upload(server=url, **ONE_PART))
        begin_s = time.perf_counter()
        summary = upload_once(config)
        taken_s = time.perf_counter() - begin_s
    assert summary.done, f"not uploaded: {summary.parked}"
    station.remove_others()
    return taken_s


class _Station:
    """One lane's way to the station, ours and bare, over one connection each.

    Args:
        url: of the station.
        schema: the lane's.
    """

    def __init__(self, url: str, schema: LaneSchema) -> None:
        self._client = MosaicoClient.connect_url(url)
        self._bare = fl.FlightClient(url)
        self._tag = schema.ontology
        self._schema = ontology.schema(schema.ontology)
        self._known = set(self._client.sequences())

    def _topic(self) -> tuple[str, str, str]:
        name = f"bench-{uuid.uuid4()}"
        self._client.create_sequence(name, {})
        session = self._client.create_session(name)
        topic = self._client.create_topic(
            session.uuid,
            f"{name}/lane",
            ontology_tag=self._tag,
            serialization_format=ontology.serialization_format(self._tag),
            metadata={},
        )
        return name, f"{name}/lane", topic

    def put(self, batches: Iterable[pa.RecordBatch]) -> float:
        """Return the seconds of a put by our client, of batches that are made on the way."""
        name, locator, topic = self._topic()
        taken_s = seconds(lambda: self._client.put(locator, topic, self._schema, batches))
        self._client.delete_sequence(name)
        return taken_s

    def bare_put(self, batches: Sequence[pa.RecordBatch]) -> float:
        """Return the seconds of a DoPut of batches that lie in memory."""
        name, locator, topic = self._topic()
        command = json.dumps({"resource_locator": locator, "topic_uuid": topic}).encode()

        def put() -> None:
            writer, _ = self._bare.do_put(fl.FlightDescriptor.for_command(command), self._schema)
            for batch in batches:
                writer.write_batch(batch)
            writer.close()

        taken_s = seconds(put)
        self._client.delete_sequence(name)
        return taken_s

    def remove_others(self) -> None:
        """Remove the sequences that came since the beginning: the uploader finds its own again."""
        for name in set(self._client.sequences()) - self._known:
            self._client.delete_sequence(name)

    def close(self) -> None:
        """Hang up."""
        self._client.close()
        self._bare.close()


def _memory(disk: Path, url: str) -> Iterator[Figure]:
    small, large = (_high_mb(disk, url, frames) for frames in (SMALL_BACKLOG, LARGE_BACKLOG))
    name = f"memory of upload, {LARGE_BACKLOG * FRAME_BYTES / 1e6:.0f} MB backlog, highest RSS"
    yield Figure(name, large, None, "MB", 110, is_most=True)
    yield Figure(f"{name} / {SMALL_BACKLOG * FRAME_BYTES / 1e6:.0f} MB", large, small, "MB")


def _high_mb(disk: Path, url: str, frames: int) -> float:
    """Let the upload's process work off a backlog; return its highest RSS."""
    say(f"upload: memory of the process with {frames * FRAME_BYTES / 1e6:.0f} MB waiting\n")
    with Shelf(disk, CAMERA, _picture()) as shelf:
        _fill(shelf, frames, FRAMES_PER_COMMIT)
        return drained(shelf, CAMERA, url, BACKLOG_LIMIT_S).high_bytes / 1e6
