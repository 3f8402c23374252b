"""What the server is told of a recording (its sequence's metadata) and of each topic.

A sequence's ``recording`` holds `id`, `type`, `identifier`, `vehicle`, `boot_id`, `details`,
`model`, `sources`, `predecessor`, `dependencies`, `dependencies_missing`, `replaces` (other
sequences of the same recording on this server, which do not count any more: it was sent anew),
`start_ns` and `start` (UTC of the first sample as it was known when the upload began, or null),
`clock_source` and `clock_uncertainty_ns` likewise (null: nobody vouches for the time),
`heartbeat_s`, and for each lane the contract: `name`, `rate_hz`, `required`, `weight`. It can never
be changed; `recorder/summary` has the rest.

A topic has the lane's own metadata from the configuration at the top, and under ``recorder`` what
we add: `part`, `lane`, `rows`, `digest`, `clock_source`, `clock_uncertainty_ns`, and for lanes
`driver`, `rate_hz`, `rate_tolerance`, `required`, `epoch`, `from_seqno`, `to_seqno`, `device`, and
`columns` (name, unit, whether it is on the server; the others stay in the spool).
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from recorder.columns import arrow_schema
from recorder.upload.naming import legal_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.clock import Mapping
    from recorder.schema import LaneSchema
    from recorder.session.session import Session
    from recorder.upload.parts import Part


def iso_utc(utc_ns: int | None) -> str | None:
    """Return a time as ISO 8601 with microseconds, cut, not rounded.

    >>> iso_utc(1_395_837_505_123_456_789)
    '2014-03-26T12:38:25.123456Z'
    """
    if utc_ns is None:
        return None
    seconds, rest_ns = divmod(utc_ns, 1_000_000_000)
    when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}Z"


def start_utc_ns(session: Session, mapping: Mapping) -> int | None:
    """Return the UTC of a session's first sample, or None if it has none."""
    start = session.start_boot_ns
    return None if start is None else mapping.utc_ns(start)


def sequence_metadata(
    session: Session, mapping: Mapping, replaced: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the metadata of a recording's sequence.

    Args:
        session: the recording.
        mapping: boot time to UTC.
        replaced: names of sequences of it that do not count beside this one.
    """
    start_ns = start_utc_ns(session, mapping)
    lanes = [
        {"name": one.name, "rate_hz": one.rate_hz, "required": one.required, "weight": one.weight}
        for one in session.lanes
    ]
    recording = {
        "id": session.id,
        "type": session.type,
        "identifier": session.identifier,
        "vehicle": session.vehicle,
        "boot_id": session.boot_id,
        "details": session.details,
        "model": session.model,
        "sources": session.sources,
        "predecessor": session.predecessor,
        "dependencies": session.dependencies,
        "dependencies_missing": session.dependencies_missing,
        "replaces": list(replaced),
        "start_ns": start_ns,
        "start": iso_utc(start_ns),
        "clock_source": mapping.source,
        "clock_uncertainty_ns": mapping.uncertainty_ns,
        "heartbeat_s": session.heartbeat_s,
        "lanes": lanes,
    }
    return legal_keys({"recording": recording})


def part_facts(part: Part) -> dict[str, Any]:
    """Return what is said of every part's topic."""
    return {
        "part": part.id,
        "lane": part.lane,
        "rows": part.rows,
        "digest": part.digest,
        "clock_source": part.mapping.source,
        "clock_uncertainty_ns": part.mapping.uncertainty_ns,
    }


def lane_metadata(part: Part, schema: LaneSchema) -> dict[str, Any]:
    """Return the metadata of a topic with a lane's rows."""
    inside = {inner.name for column in arrow_schema(schema) for inner in column.flatten()}
    columns = [
        {"name": one.name, "unit": one.unit, "on_server": one.name in {"utc_ns", *inside}}
        for one in schema.fields
    ]
    facts = {
        **part_facts(part),
        "driver": schema.driver,
        "rate_hz": schema.rate_hz,
        "rate_tolerance": schema.rate_tolerance,
        "required": schema.required,
        "epoch": f"{part.epoch:016x}",
        "from_seqno": part.from_seqno,
        "to_seqno": part.to_seqno,
        "device": part.device,
        "columns": columns,
    }
    return legal_keys({**schema.metadata, "recorder": facts})
