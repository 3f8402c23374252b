"""Pushing IMU rows into a topic, one by one and as columns, beside the vendor's SDK."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from recorder.mosaico import Message, MosaicoClient, Vector3d, message, ontology
from tests.bench.measure import Figure, interleaved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.mosaico.topic_writer import TopicWriter
    from tests.bench.sdk import Sdk

PUSH_ROWS, SDK_ROWS = 40_000, 2000
#: Columns: so many batches of so many rows, each made on the way.
BATCHES, BATCH_ROWS = 40, 16_384


def figures(url: str, sdk: Sdk) -> Iterator[Figure]:
    """Measure everything of this room, each from the first row to a finalized session.

    Args:
        url: of the ground station.
        sdk: the SDK, connected to it.
    """
    with MosaicoClient.connect_url(url) as client:
        rows, columns, peer = interleaved(
            "upload: push and push_batch beside the SDK's push",
            lambda: PUSH_ROWS / _pushed_s(client),
            lambda: BATCHES * BATCH_ROWS / _batches_s(client),
            lambda: sdk.push_rows_per_s(SDK_ROWS),
        )
    yield Figure("push of IMU rows, one by one", rows, None, "rows/s", 80_000)
    yield Figure("push of IMU rows, one by one / SDK push", rows, peer, "rows/s", 15)
    yield Figure("push_batch of IMU columns / SDK push", columns, peer, "rows/s", 100)


def _pushed_s(client: MosaicoClient) -> float:
    """Push rows as a user does, messages made on the way; return the seconds."""
    begin_s = time.perf_counter()
    with _topic(client) as topic:
        for number in range(PUSH_ROWS):
            vector = Vector3d(x=float(number), y=0.5, z=9.8)
            imu = message.IMU(acceleration=vector, angular_velocity=vector)
            topic.push(Message(timestamp_ns=number, data=imu))
    return time.perf_counter() - begin_s


def _batches_s(client: MosaicoClient) -> float:
    """Push columns as a user does who has them; return the seconds."""
    schema = ontology.schema("IMU")
    vector = {"x": 0.5, "y": 0.25, "z": 9.8}
    row = {"timestamp_ns": 0, "acceleration": vector, "angular_velocity": vector}
    values = pa.RecordBatch.from_pylist(BATCH_ROWS * [row], schema)
    begin_s = time.perf_counter()
    with _topic(client) as topic:
        for number in range(BATCHES):
            first = number * BATCH_ROWS
            times = pa.array(range(first, first + BATCH_ROWS), pa.int64())
            topic.push_batch(values.set_column(0, schema.field(0), times))
    return time.perf_counter() - begin_s


@contextmanager
def _topic(client: MosaicoClient) -> Iterator[TopicWriter]:
    """Give a topic of a fresh sequence; on return it is finalized, and removed again."""
    name = f"push-{uuid.uuid4()}"
    with client.sequence_create(name, {}) as sequence:
        yield sequence.topic_create("imu", {}, message.IMU)
    client.delete_sequence(name)
