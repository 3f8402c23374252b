"""A whole recording as one MCAP file, as Foxglove opens it.

    /<lane>            rows with all their columns in JSON, or pictures as `CompressedImage`
    /<lane>/fix        fixes of a GPS as `LocationFix`
    /recorder/marks    marks as `Log`

Log time and publish time are the row's `timestamp_ns`, a message's number is the sample's (its
lower 32 bits). The session record with its marks is the attachment ``session.json``. Lanes are
written one after the other; readers put them into their order by the file's index.
"""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

from recorder import __version__
from recorder.columns import arrow_schema
from recorder.errors import RecorderError
from recorder.export import foxglove

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from mcap.writer import Writer

    from recorder.schema import LaneSchema

NAME = "recording.mcap"
_NUMBERS = 2**32


class McapFile:
    """Takes every lane of a recording.

    Args:
        directory: where the file is made.

    Raises:
        RecorderError: the library that writes MCAP is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            library = importlib.import_module("mcap.writer")
        except ImportError as error:
            told = "MCAP needs a library: pip install 'edge-recorder[mcap]'"
            raise RecorderError(f"{told} ({error})") from error
        self._path = directory / NAME
        self._file = self._path.open("xb")
        self._writer: Writer = library.Writer(self._file)
        self._writer.start(library=f"edge-recorder {__version__}")
        self._schemas: dict[str, int] = {}

    def table(self, stem: Path, schema: LaneSchema) -> McapTable:
        """Return where rows of a lane go; the stem's name is their topic.

        Raises:
            UnmappableError: the lane's rows cannot become its ontology.
        """
        return McapTable(self, self._path, stem.name, schema)

    def channel(self, topic: str, schema: dict[str, Any]) -> int:
        """Begin a topic whose messages are JSON of a schema; return its number."""
        name = str(schema["title"])
        text = json.dumps(schema, sort_keys=True)
        if text not in self._schemas:
            number: int = self._writer.register_schema(name, "jsonschema", text.encode())
            self._schemas[text] = number
        return self._writer.register_channel(topic, "json", self._schemas[text])

    def write(self, channel: int, utc_ns: int, message: dict[str, Any], number: int = 0) -> None:
        """Append a message."""
        text = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
        self._writer.add_message(channel, utc_ns, text.encode(), utc_ns, number % _NUMBERS)

    def conclude(self, record: dict[str, Any]) -> None:
        """Append the marks and the session record; the file is whole then."""
        if record["marks"]:
            channel = self.channel("/recorder/marks", foxglove.known_schema(foxglove.LOG))
            for one in record["marks"]:
                self.write(channel, one["utc_ns"], foxglove.mark_of(one))
        begun_ns = record["start_utc_ns"] or 0
        text = json.dumps(record, indent=2, ensure_ascii=False).encode()
        media = "application/json"
        self._writer.add_attachment(begun_ns, begun_ns, "session.json", media, text)
        self._writer.finish()  # type: ignore[no-untyped-call]  # the library's own says nothing

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


class McapTable:
    """One lane's topics.

    Args:
        into: the file.
        path: its path.
        lane: name of the topic, without its slash.
        schema: the lane's declaration.

    Raises:
        UnmappableError: the lane's rows cannot become its ontology.
    """

    def __init__(self, into: McapFile, path: Path, lane: str, schema: LaneSchema) -> None:
        self.path = path
        self._into = into
        self._lane = lane
        columns = arrow_schema(schema)
        self._is_picture = schema.blob is not None and "data" in columns.names
        self._fixes: int | None = None
        if self._is_picture:
            kind = foxglove.IMAGE if schema.blob in foxglove.PICTURES else foxglove.VIDEO
            whole = foxglove.known_schema(kind)
        else:
            whole = foxglove.schema_of(f"recorder.{schema.ontology}", columns)
        self._rows = into.channel(f"/{lane}", whole)
        if schema.ontology == "GPS":
            fix = foxglove.known_schema(foxglove.FIX)
            self._fixes = into.channel(f"/{lane}/fix", fix)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        for row in batch.to_pylist():
            utc_ns, number = row["timestamp_ns"], row["header"]["sample_counter"]
            message = (
                foxglove.picture_of(row, self._lane)
                if self._is_picture
                else foxglove.message_of(row)
            )
            self._into.write(self._rows, utc_ns, message, number)
            if self._fixes is None:
                continue
            fix = foxglove.fix_of(row, self._lane)
            if fix is not None:
                self._into.write(self._fixes, utc_ns, fix, number)

    def close(self) -> None:
        """Do nothing; the file is the other lanes' too."""
