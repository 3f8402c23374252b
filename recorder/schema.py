"""What the rows of a lane are: the JSON text in the head of every ring and of every segment."""

from __future__ import annotations

import functools
import json
import struct
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from drivers.base import TYPES, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.base import Driver


@dataclass(frozen=True)
class LaneSchema:
    """A lane's declaration: what its records hold and how its topic is to be made.

    Args:
        lane: the lane's name, which is its topic's name on the server.
        driver: kind of the driver.
        ontology: tag of the topic on the server.
        rate_hz: rows per second that the device has to give (the contract); 0: events, which come
            when they come.
        rate_tolerance: how far the device's clock may be off, as a fraction.
        fields: columns of a row, in order.
        blob: None, or the format of the bytes behind the one row of a record.
        required: whether a missing device lowers the session's quality.
        on_error: what the uploader does when this topic is refused: raise, ignore or finalize.
        metadata: free facts that go to the topic.
    """

    lane: str
    driver: str
    ontology: str
    rate_hz: float
    rate_tolerance: float
    fields: tuple[Field, ...]
    blob: str | None = None
    required: bool = True
    on_error: str = "raise"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def row_bytes(self) -> int:
        """Width of a row."""
        return sum(int(one.type[2:]) for one in self.fields)

    @property
    def period_ns(self) -> int:
        """The contract's distance between two samples; 0 if they come when they come."""
        return round(1e9 / self.rate_hz) if self.rate_hz else 0

    def row_structs(self) -> tuple[struct.Struct, ...]:
        """Return one unpacker for each run of fields of one byte order, in row order."""
        runs: list[str] = []
        for one in self.fields:
            if not runs or runs[-1][0] != one.type[0]:
                runs.append(one.type[0])
            runs[-1] += TYPES[one.type[1:]]
        return tuple(struct.Struct(run) for run in runs)

    def to_json(self) -> str:
        """Return the text that is stored; the same declaration gives the same text."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> LaneSchema:
        """Read the text that `to_json` made; keys of a later version are passed over."""
        stored = json.loads(text)
        fields = tuple(Field(**one) for one in stored.pop("fields"))
        known = {key: stored[key] for key in cls.__dataclass_fields__ if key in stored}
        return cls(fields=fields, **known)

    @classmethod
    def of(
        cls,
        lane: str,
        driver: Driver,
        *,
        required: bool = True,
        on_error: str = "raise",
        metadata: Mapping[str, Any] | None = None,
    ) -> LaneSchema:
        """Declare a lane from its driver and what the configuration adds."""
        return cls(
            lane=lane,
            driver=driver.kind,
            ontology=driver.ontology,
            rate_hz=driver.rate_hz,
            rate_tolerance=driver.rate_tolerance,
            fields=driver.fields,
            blob=driver.blob,
            required=required,
            on_error=on_error,
            metadata=dict(metadata or {}),
        )
