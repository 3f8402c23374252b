"""What a recording's record says beside its counts, held against what else is known of it.

The rules are those of the session model, written down once more: whoever wrote the record had no
part in this. All functions take plain records (`Session.to_dict`) and return what is wrong, one
sentence each.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from recorder.record import ANCHOR_SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Record = Mapping[str, Any]

CODES = {"waiting": 1, "open": 2, "closed": 4, "truncated": 12, "failed": 28, "abandoned": 44}
_CLEAN = ("operator", "rule", "shutdown", "roll_over")
_SHORT = ("lost_evicted", "lost_crc", "lost_rejected")
#: What is said once, when a recording is announced.
FIXED = (
    "id", "boot_id", "type", "vehicle", "model", "sources", "predecessor", "heartbeat_s",
    "announced_boot_ns",
)  # fmt: skip
CONTRACT = ("name", "required", "weight", "rate_hz")
#: What only grows.
_RISING = ("revision", "heartbeat_seq", "heartbeat_boot_ns", "loss_window_ns")
_UNTOLD = -1
#: Of a lane, what changes behind the end of its recording.
_MOVED = {"delivered", "pending", *_SHORT}
#: The end of a recording changes none of this.
_HEARTBEAT = (
    "heartbeat_seq", "heartbeat_boot_ns", "heartbeat_utc_ns", "loss_window_ns",
    "dependencies_missing",
)  # fmt: skip


def trust(source: str) -> int:
    """Return how far a source of time is to be trusted; one that is none least of all.

    >>> trust("the moon") < trust("none") < trust("gps")
    True
    """
    return ANCHOR_SOURCES.index(source) if source in ANCHOR_SOURCES else -1


def is_terminal(record: Record) -> bool:
    """Tell whether nothing about a recording is to change any more."""
    return record["state"] not in ("waiting", "open")


def by_itself(record: Record) -> Iterator[str]:
    """Yield what in one record contradicts the rest of it: state, times, what is unaccounted."""
    yield from _state(record)
    lanes = record["lanes"]
    first = min((one["first_boot_ns"] for one in lanes if one["first_boot_ns"]), default=None)
    last = max((one["last_boot_ns"] for one in lanes if one["last_boot_ns"]), default=None)
    duration_ns = 0 if first is None or last is None else last - first
    unaccounted_ns = 0
    if record["end_reason"] == "power_loss":
        unaccounted_ns = round(record["heartbeat_s"] * 1e9)
    yield from _unlike(record, "start_boot_ns", first, "by its lanes")
    yield from _unlike(record, "duration_ns", duration_ns, "by its lanes")
    yield from _unlike(record, "unaccounted_max_ns", unaccounted_ns, "by how it ended")
    if first is None:
        yield from _unlike(record, "start_utc_ns", None, "without a sample")
    bound_ns = record.get("utc_uncertainty_ns", _UNTOLD)
    if bound_ns != _UNTOLD and (record["clock_source"] == "none") is not (bound_ns is None):
        yield f"utc_uncertainty_ns {bound_ns}, and clock_source {record['clock_source']}"
    for kind, ids in record.get("dependencies_missing", {}).items():
        if unnamed := set(ids) - set(record["dependencies"].get(kind, ())):
            yield f"dependencies_missing {kind}: {', '.join(sorted(unnamed))}, which it never named"


def _state(record: Record) -> Iterator[str]:
    state, reason = record["state"], record["end_reason"]
    yield from _unlike(record, "state_code", CODES.get(state), f"of {state}")
    is_stopped = record["recording"] == "stopped"
    if is_stopped is not (reason is not None):
        yield f"recording {record['recording']}, and end_reason {reason}"
    has_samples = any(one["stored"] for one in record["lanes"])
    if not is_terminal(record):
        yield from _unlike(record, "state", "open" if has_samples else "waiting", "by its samples")
    elif not is_stopped:
        yield f"state {state}, and recording {record['recording']}"


def ending(record: Record) -> Iterator[str]:
    """Yield what is wrong with a terminal state that came with its record."""
    reason = str(record["end_reason"])
    is_short = any(one[key] for one in record["lanes"] for key in _SHORT)
    right = "truncated" if is_short else "closed"
    if reason.startswith("exception"):
        right = "failed"
    elif reason not in _CLEAN:
        right = "abandoned"
    yield from _unlike(record, "state", right, f"by its losses and its end ({reason})")


def _unlike(record: Record, key: str, right: object, why: str) -> Iterator[str]:
    if key in record and record[key] != right:  # an older recorder did not say all
        yield f"{key} {record[key]}, {why} {right}"


def fixed(record: Record, announced: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what is not as it was announced and may never change.

    Args:
        record: the record.
        announced: what was said first; what it leaves out is not looked at.
        where: what that was.
    """
    for key in FIXED:
        if key in announced:
            yield from _unlike(record, key, announced[key], where)
    lanes = announced.get("lanes")
    if lanes is not None:
        yield from contracts(record, [{key: one.get(key) for key in CONTRACT} for one in lanes])


def contracts(record: Record, lanes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield in which lanes a record is not as others say; what they leave out is not looked at."""
    names, others = [one["name"] for one in record["lanes"]], [one["name"] for one in lanes]
    if names != others:
        yield f"lanes {', '.join(names)}, as announced {', '.join(others)}"
        return
    for one, other in zip(record["lanes"], lanes, strict=True):
        for key in CONTRACT:
            if other.get(key) is not None and one[key] != other[key]:
                yield f"{one['name']}: {key} {one[key]}, as declared {other[key]}"


def in_order(records: Sequence[Record]) -> Iterator[str]:
    """Yield what runs backwards over a recording's life, or changes where it may not."""
    is_whole = bool(records) and not records[0]["heartbeat_utc_ns"]  # nothing was left out since
    for before, after in itertools.pairwise(records):
        for key in _RISING:
            if after.get(key, 0) < before.get(key, 0):
                yield f"{key} {after.get(key, 0)}, after {before[key]}"
        yield from fixed(after, before, "before")
        if is_terminal(before) and after["state"] != before["state"]:
            yield f"state {after['state']}, after {before['state']}"
        if after["recording"] != before["recording"]:
            yield from _ended(before, after, is_whole=is_whole)


def _ended(before: Record, after: Record, *, is_whole: bool) -> Iterator[str]:
    """Yield what is wrong with the record of a recording's end, behind the last heartbeat."""
    if after["revision"] - before["revision"] == 1 + is_terminal(after):
        for key in _HEARTBEAT:
            yield from _unlike(after, key, before.get(key), "before")
    elif is_whole:
        yield f"revision {after['revision']}, after {before['revision']} and an end"


def concluded(final: Record, told: Record) -> Iterator[str]:
    """Yield what an uploader's terminal record says otherwise than the spool's newest one.

    Args:
        final: the terminal record.
        told: the newest record of the spool.
    """
    yield from fixed(final, told, "in the spool")
    for key in ("end_reason", "recording", "unaccounted_max_ns", "identifier", "details",
                "dependencies", "dependencies_missing", "loss_window_ns", "start_boot_ns",
                "duration_ns"):  # fmt: skip
        yield from _unlike(final, key, told.get(key), "in the spool")
    yield from _counted(final, told)
    beats = final["heartbeat_seq"] - told["heartbeat_seq"]
    changes = final["revision"] - told["revision"]
    if beats not in (0, 1) or changes != beats + (not is_terminal(told)):
        yield f"revision {final['revision']} and heartbeat_seq {final['heartbeat_seq']}, in the" \
            f" spool {told['revision']} and {told['heartbeat_seq']}"  # fmt: skip
    if not beats:
        for key in ("heartbeat_boot_ns", "heartbeat_utc_ns"):
            yield from _unlike(final, key, told[key], "in the spool")
    if is_terminal(told):
        yield from _unlike(final, "state", told["state"], "in the spool")
    else:
        yield from ending(final)


def _counted(final: Record, told: Record) -> Iterator[str]:
    for mine, other in zip(final["lanes"], told["lanes"], strict=False):
        for key in mine.keys() - _MOVED:
            if mine[key] != other.get(key):
                yield f"{mine['name']}: {key} {mine[key]}, in the spool {other.get(key)}"
