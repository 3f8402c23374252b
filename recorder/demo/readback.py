"""Reads a recording back with the vendor's own SDK, in a process of its own.

``python -m recorder.demo.readback URL RECORDING_ID FILE`` writes one line of JSON for the sequence
(`topics`, `metadata`, and per topic its metadata) and then one for each row of every topic: what
class the SDK made of it, and its columns. The recorder itself never imports the SDK.
"""

from __future__ import annotations

import json
import sys
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK's own deprecations are not ours to report
    from mosaicolabs import CompressedImage, MosaicoClient

from drivers.sim.pictures import read_number

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = (bool, int, float, str, type(None))


def columns(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any model
    """Yield the path and the value of every plain column of an SDK object."""
    fields = getattr(type(value), "model_fields", None)
    if fields is None:
        if isinstance(value, PLAIN):
            yield name, value
        return
    for key in fields:
        yield from columns(getattr(value, key, None), f"{name}.{key}" if name else key)


def row(message: Any) -> dict[str, Any]:  # noqa: ANN401 - the SDK's message
    """Return one row as plain values; a picture as its size, checksum and what is drawn in it."""
    data = message.data
    found = {"class": type(data).__name__, "timestamp_ns": message.timestamp_ns}
    found.update(columns(data))
    if isinstance(data, CompressedImage):
        picture = bytes(data.data)
        found |= {"bytes": len(picture), "crc32": zlib.crc32(picture), "number": _number(picture)}
    return found


def _number(picture: bytes) -> int | None:
    try:
        return read_number(picture)
    except (ValueError, OSError):
        return None


def main(url: str, recording_id: str, file: Path) -> None:
    """Find the sequence of a recording on a server and write down everything in it."""
    place = urlsplit(url)
    with (
        MosaicoClient.connect(place.hostname or "", place.port or 0) as client,
        file.open("w") as out,
    ):
        for name in client.list_sequences():
            sequence = client.sequence_handler(name)
            metadata = sequence.user_metadata
            if metadata.get("recording", {}).get("id") != recording_id:
                continue
            handlers = {topic: client.topic_handler(name, topic) for topic in sequence.topics}
            facts = {
                "sequence": name,
                "metadata": metadata,
                "topics": {topic: one.user_metadata for topic, one in handlers.items()},
                "locked": {topic: one.locked for topic, one in handlers.items()},
                "notifications": [str(one) for one in client.list_sequence_notifications(name)],
            }
            out.write(json.dumps(facts, default=str) + "\n")
            for topic, handler in handlers.items():
                for message in handler.get_data_streamer():
                    line = {"topic": topic.lstrip("/"), **row(message)}
                    out.write(json.dumps(line, default=str) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
