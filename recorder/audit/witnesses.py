"""What a spool holds beside the record of a recording, and that must say the same.

The configuration in its journal, the heads of its segments, the times of its rows, the anchors of
its boot, what people said of it, how it ended, and what the uploader's parts were told of the time.
"""

from __future__ import annotations

import bisect
import datetime
import string
from typing import TYPE_CHECKING, Any

from recorder.audit import claims
from recorder.record import ANCHOR_SOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recorder.audit.finding import LaneAudit
    from recorder.audit.walk import Walk
    from recorder.schema import LaneSchema

    Entries = Sequence[dict[str, Any]]
    Record = Mapping[str, Any]

#: NTP slews the boot clock by 500 ppm at most, and an oscillator is off by 100.
_RATE = 0.0006
#: Across a suspend boot time may be off by so much.
_SUSPEND_NS = 2_000_000_000
#: An anchor counts where it was journalled before the record: a commit and a heartbeat earlier.
_AGO_NS = 30_000_000_000
_MOST_NAME = 255


def journal_says(record: Record, entries: Entries, newest: int) -> Iterator[str]:
    """Yield what a journal's other entries contradict in a record.

    Args:
        record: the spool's newest, or the uploader's terminal one.
        entries: the journal.
        newest: the line of the spool's newest record.
    """
    configs = (one["config"] for one in entries if one["entry"] == "config")
    config: dict[str, Any] = next(configs, {})
    announced = next(one["session"] for one in entries if one["entry"] == "session")
    yield from claims.fixed(record, _configured(config), "as configured")
    yield from claims.fixed(record, announced, "as announced")
    yield from _end(record, entries)
    said = [_said(entries[: newest + more]) for more in (0, 2)]  # a word follows its own record
    rights = [_named(announced, one) for one in said]
    for key in ("details", "dependencies"):
        if record[key] not in [one[key] for one in rights]:
            yield f"{key} {record[key]}, by what was said {rights[0][key]}"
    template = config.get("session", {}).get("identifier")
    names = {_filled(one["identifier"] or template or "", record) for one in said}
    if template is not None and record["heartbeat_seq"] and record["identifier"] not in names:
        yield f"identifier {record['identifier']}, by what was said {names.pop()}"


def _configured(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a configuration fixes of a record; the rate is the driver's to say."""
    found: dict[str, Any] = {}
    for key in ("type", "sources", "heartbeat_s"):
        if key in config.get("session", {}):
            found[key] = config["session"][key]
    if "vehicle" in config:
        found["vehicle"] = config["vehicle"]["name"]
    if "lanes" in config:
        keys = ("name", "required", "weight")
        found["lanes"] = [{key: one.get(key) for key in keys} for one in config["lanes"]]
    return found


def _end(record: Record, entries: Entries) -> Iterator[str]:
    ends = [one for one in entries if one["entry"] == "ended"]
    if ends and record["recording"] == "stopped" and ends[-1]["reason"] != record["end_reason"]:
        yield f"end_reason {record['end_reason']}, as journalled {ends[-1]['reason']}"


def _said(entries: Entries) -> dict[str, Any]:
    found: dict[str, Any] = {"identifier": "", "details": {}, "dependencies": []}
    for one in entries:
        if one["entry"] == "command" and one.get("command") == "set":
            found["identifier"] = one.get("identifier") or found["identifier"]
            found["details"].update(one.get("details") or {})
            found["dependencies"].append(one.get("dependencies") or {})
    return found


def _named(announced: Record, said: dict[str, Any]) -> dict[str, Any]:
    named = {kind: list(ids) for kind, ids in announced["dependencies"].items()}
    for more in said["dependencies"]:
        for kind, ids in more.items():
            there = named.setdefault(kind, [])
            there += [one for one in ids if one not in there]
    return {"details": {**announced["details"], **said["details"]}, "dependencies": named}


def _filled(template: str, record: Record) -> str:
    start = record["start_utc_ns"]
    known = {"vehicle": record["vehicle"], "id8": record["id"][:8], "start": "unknown"}
    if start is not None:
        when = datetime.datetime.fromtimestamp(start // 10**9, datetime.timezone.utc)
        known["start"] = f"{when:%Y%m%dT%H%M%SZ}"
    parts = string.Formatter().parse(template)
    return "".join(text + known.get(field or "", "") for text, field, _, _ in parts)[:_MOST_NAME]


def rows_say(lane: LaneAudit, walk: Walk, schemas: Sequence[LaneSchema]) -> Iterator[str]:
    """Yield what a lane's rows and the heads of its segments contradict in its account.

    Args:
        lane: its account.
        walk: over its rows.
        schemas: what the heads declare.
    """
    for key in ("rate_hz", "required"):
        declared = {getattr(one, key) for one in schemas}
        if declared and lane.recorded[key] not in declared:
            told = ", ".join(map(str, sorted(declared)))
            yield f"{key} {lane.recorded[key]}, by its segments {told}"
    for key, place, is_sure in (
        ("first_boot_ns", 0, walk.is_first_sure),
        ("last_boot_ns", 1, walk.is_last_sure),
    ):
        told_ns = lane.recorded[key]
        right_ns = lane.span_ns[place] if lane.span_ns else None
        if (told_ns is None) is not (lane.recorded["stored"] == 0):
            yield f"{key} {told_ns}, with {lane.recorded['stored']} stored"
        elif is_sure and right_ns is not None and told_ns != right_ns:
            yield f"{key} {told_ns}, by the rows {right_ns}"


def anchors_say(record: Record, anchors: Entries) -> Iterator[str]:
    """Yield what the anchors of its boot contradict in when a recording says that it began.

    Args:
        record: the spool's newest.
        anchors: of its boot, as journalled.
    """
    source, start_ns, boot_ns = (
        record[key] for key in ("clock_source", "start_utc_ns", "start_boot_ns")
    )
    if source not in ANCHOR_SOURCES:
        yield f"clock_source {source}, which is none"
        return
    if start_ns is None or boot_ns is None:
        return
    if source == "none":
        yield from _untrusted(start_ns, boot_ns, anchors)
        return
    bound_ns = record.get("utc_uncertainty_ns") or 0
    mine = [one for one in anchors if one["source"] == source]
    if not any(_agrees(one, boot_ns, start_ns, bound_ns) for one in mine):
        yield f"start_utc_ns {start_ns}, and no anchor of clock_source {source} says so"
    end_ns = min(boot_ns + record["duration_ns"], record["heartbeat_boot_ns"] - _AGO_NS)
    rank = claims.trust(source)
    better = [
        one
        for one in anchors
        if claims.trust(one["source"]) > rank
        and boot_ns <= one["boot_ns"] <= end_ns
        and _agrees(one, boot_ns, start_ns, bound_ns)
    ]
    if better:
        yield f"clock_source {source}, and {better[-1]['source']} says the same"


def _untrusted(start_ns: int, boot_ns: int, anchors: Entries) -> Iterator[str]:
    """Yield where nobody vouched for the time, and it is not what the system's clock said first."""
    if anchors and all(one["source"] == "none" for one in anchors):
        first = min(anchors, key=lambda one: int(one["boot_ns"]))
        right_ns = first["utc_ns"] + boot_ns - first["boot_ns"]
        if start_ns != right_ns:
            yield f"start_utc_ns {start_ns}, by the first anchor {right_ns}"


def _agrees(anchor: Record, boot_ns: int, utc_ns: int, bound_ns: int) -> bool:
    away_ns = boot_ns - anchor["boot_ns"]
    slack_ns = bound_ns + anchor["uncertainty_ns"] + abs(away_ns) * _RATE + _SUSPEND_NS
    return bool(abs(utc_ns - anchor["utc_ns"] - away_ns) <= slack_ns)


def parts_say(final: Record, parts: Entries) -> Iterator[str]:
    """Yield what the parts that were delivered contradict in the times of a terminal record.

    Args:
        final: the terminal record.
        parts: their ``planned`` entries in the uploader's journal.
    """
    begins = {one["name"]: one["first_boot_ns"] for one in final["lanes"] if one["first_boot_ns"]}
    sent = [one for one in parts if one["lane"] in begins]
    if not sent:
        return
    told = [one["mapping"] for one in sent]
    bounds = [one["uncertainty_ns"] for one in told]
    first = min(sent, key=lambda one: (begins[one["lane"]], one["part"]))
    right = {
        "clock_source": min((one["source"] for one in told), key=claims.trust),
        "utc_uncertainty_ns": None if None in bounds else max(bounds),
        "start_utc_ns": _utc_ns(first["mapping"]["knots"], final["start_boot_ns"]),
    }
    for key, value in right.items():
        if final.get(key, value) != value:
            yield f"{key} {final[key]}, as its parts were told {value}"


def _utc_ns(knots: Sequence[Sequence[int]], boot_ns: int) -> int:
    """Return the UTC of a boot time by straight lines between knots, and at rate 1 outside."""
    at = bisect.bisect_right([boot for boot, _ in knots], boot_ns) - 1
    boot, utc = knots[max(at, 0)]
    if at < 0 or at + 1 == len(knots):
        return utc + boot_ns - boot
    next_boot, next_utc = knots[at + 1]
    return utc + (boot_ns - boot) * (next_utc - utc) // (next_boot - boot)
