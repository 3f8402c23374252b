"""The end of a recording's upload: the terminal record, the manifest, the server's sessions."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from recorder.clock import boot_id, boot_ns
from recorder.errors import RemoteRefusedError
from recorder.record import ANCHOR_SOURCES
from recorder.session.session import Session
from recorder.upload.describe import start_utc_ns
from recorder.upload.naming import legal_keys
from recorder.upload.parts import SUMMARY
from recorder.upload.reissue import issued

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recorder.clock import Mapping
    from recorder.mosaico import MosaicoClient
    from recorder.session.ledger import LaneLedger
    from recorder.upload.log import UploadLog
    from recorder.upload.state import Progress


def terminal_record(
    session: Session, entries: Iterable[dict[str, Any]], log: UploadLog, mapping: Mapping
) -> Session:
    """Return the session's terminal record, now that nothing of it is pending any more.

    A record that is terminal already (recorded with upload off) keeps its state.

    Args:
        session: the newest record of the spool; not changed.
        entries: the session's journal in the spool.
        log: what became of every part.
        mapping: boot time to UTC, as it is known now; what was sent before may say otherwise.
    """
    record = Session.from_dict(json.loads(json.dumps(session.to_dict())))
    of_segments = [one for one in entries if one["entry"] in ("sealed", "evicted")]
    for account in record.lanes:
        _settle(account, of_segments, log.of_lane(account.name))
    _tell_time(record, log, mapping)
    if not record.state.is_terminal:
        record.finish()
    if record.boot_id == boot_id().hex():
        now = boot_ns()
        record.beat(now, mapping.utc_ns(now))
    return record


def _tell_time(record: Session, log: UploadLog, mapping: Mapping) -> None:
    """Say of the times what holds for every sample that the server got, as it was told it.

    What is known now may be far better than what was frozen in the first parts: it would vouch for
    times that it never made.
    """
    begins = {one.name: one.first_boot_ns for one in record.lanes if one.first_boot_ns}
    sent = [one.part for one in log.parts if one.is_delivered and one.part.lane in begins]
    told = [one.mapping for one in sent] or [mapping]
    bounds = [one.uncertainty_ns for one in told]
    known = [one for one in bounds if one is not None]
    record.clock_source = min((one.source for one in told), key=ANCHOR_SOURCES.index)
    record.utc_uncertainty_ns = max(known) if len(known) == len(bounds) else None
    first = min(sent, key=lambda one: (begins[one.lane], one.id), default=None)
    record.start_utc_ns = start_utc_ns(record, mapping if first is None else first.mapping)


def _settle(
    account: LaneLedger, entries: Sequence[dict[str, Any]], parts: Sequence[Progress]
) -> None:
    mine = [one for one in entries if one.get("lane") == account.name]
    sealed = {
        one["file"]: one["rows"] for one in mine if one["entry"] == "sealed" and "rows" in one
    }
    evicted = {one["file"]: one["rows"] for one in mine if one["entry"] == "evicted"}
    planned: Counter[str] = Counter()
    for one in parts:
        planned.update({piece.file: piece.rows for piece in one.part.pieces})
    account.pending = 0
    account.delivered = sum(one.rows for one in parts if one.is_delivered)
    account.lost_rejected = sum(one.part.rows for one in parts if one.state == "parked") + sum(
        one.too_large for one in parts if one.is_delivered
    )
    account.lost_evicted = sum(rows - planned[file] for file, rows in evicted.items())
    # What the spool found damaged it counted, and sealed the segment without it; what went bad
    # since shows in the sealed segments.
    kept = {file: rows for file, rows in sealed.items() if file not in evicted}
    account.lost_crc += sum(max(rows - planned[file], 0) for file, rows in kept.items())


def summary_metadata(log: UploadLog, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of `recorder/summary`, the commit mark.

    `session` is the terminal record. `manifest` lists every topic that counts (`topic`, `lane`,
    `rows`, `first_ns`, `last_ns`, `digest` of its values, which whoever reads it can work out, see
    `recorder.upload.content`; null if only the server still holds them; `too_large`: rows that were
    left out because the server takes none of that size), what was refused (`parked`), and names
    that broke and could not be deleted (`abandoned`): what lies under these is no part of the
    recording.

    Args:
        log: the journal with the final record in it.
        facts: what is said of every part's topic.
    """
    topics = [
        {
            "topic": one.topic,
            "lane": one.part.lane,
            "rows": one.rows,
            "first_ns": one.first_ns,
            "last_ns": one.last_ns,
            "digest": one.content or None,
            "too_large": one.too_large,
        }
        for one in log.parts
        if one.is_delivered and one.part.lane != SUMMARY
    ]
    parked = [
        {"topic": one.name, "lane": one.part.lane, "rows": one.part.rows, "reason": one.reason}
        for one in log.parts
        if one.state == "parked"
    ]
    manifest = {"topics": topics, "parked": parked, "abandoned": log.abandoned}
    session = issued(log.final, log.reissued_as) if log.final else {}
    return legal_keys({"recorder": facts, "session": session, "manifest": manifest})


def report_end(client: MosaicoClient, log: UploadLog) -> None:
    """Leave one note on the sequence if the recording is not whole."""
    final = Session.from_dict(log.final or {})
    parked = [one.name for one in log.parts if one.state == "parked"]
    if final.state.name == "closed" and not parked:
        return
    refused = f"; refused by this server: {', '.join(parked)}" if parked else ""
    text = f"recording ended {final.state.name} ({final.end_reason}){refused}"
    notify_once(client, log, f"{final.id}/end", text)


def notify_once(client: MosaicoClient, log: UploadLog, key: str, text: str) -> None:
    """Leave a note on the sequence, unless one with the same key was left before.

    The journal knows those whose answer came; of others the server is asked.
    """
    if key in log.told:
        return
    mark = f"[{key}]"
    if not any(mark in one.text for one in client.notifications(log.sequence)):
        client.notify(log.sequence, f"{text} {mark}")
    log.note("told", key=key)


def close_sessions(client: MosaicoClient, log: UploadLog) -> None:
    """Finalize every writing session of the recording that can be.

    One that holds a topic which broke and could not be deleted stays open for ever; the manifest
    names the topic. Empty ones, left by an answer that was lost, are deleted where the key may.

    Raises:
        RemoteRefusedError: the server does not finalize one.
    """
    sequence = client.describe_sequence(log.sequence)
    told = {one.locator: one for one in (sequence.sessions if sequence else ())}
    handles = {one.locator: one for one in log.sessions}
    for locator, one in told.items():
        if not one.topics and not one.locked:
            _delete_empty(client, locator, handles[locator].uuid if locator in handles else "")
    for mine in log.sessions:
        found = told.get(mine.locator)
        if mine.is_spoiled or mine.is_finalized or found is None or not found.topics:
            continue
        if not found.locked:
            _finalize(client, log.sequence, mine.locator, mine.uuid)
        log.note("finalized", locator=mine.locator)


def _delete_empty(client: MosaicoClient, locator: str, uuid: str) -> None:
    try:
        client.delete_session(locator, uuid)
    except RemoteRefusedError:
        return  # a write-only key leaves it: it holds nothing and blocks nothing


def _finalize(client: MosaicoClient, sequence: str, locator: str, uuid: str) -> None:
    try:
        client.finalize_session(uuid)
    except RemoteRefusedError:
        found = client.describe_sequence(sequence)
        locked = {one.locator for one in found.sessions if one.locked} if found else set()
        if locator not in locked:
            raise
