"""What must be true of a server, and of an uploader's journals: at any instant, and at the end.

It knows what was recorded (`tests.chaos.drive`), reads the server's own files
(`tests.chaos.stored`) and the lines of the journals, and asks nobody. A problem is a sentence.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import stored
from tests.chaos.digest import digest
from tests.chaos.drive import LANES, Known, Recorded
from tests.chaos.stored import StoredSequence, StoredTopic
from tests.chaos.verdict import Verdict, lines, upload_journal

SUMMARY, SESSION_LOG, MARKS = "recorder/summary", "recorder/session", "recorder/marks"
SHOWN = 3


# --- at any instant


def judge_now(data: Path, station: Path, ids: list[str], policy: str = "report") -> Verdict:
    """Judge what must hold at every instant, also while everybody works.

    Args:
        data: the vehicle's directory.
        station: the station's.
        ids: of the sessions that were recorded.
        policy: of the upload; under `delete` only a closed writing session is sure to stay.
    """
    verdict = Verdict()
    receipts = {one: _receipts(upload_journal(data, one)) for one in ids}
    for sequence in stored.read(station):
        verdict.demand(sequence.recording in ids, f"{sequence.name} is nobody's recording")
        there = {one.path: one for one in sequence.topics if one.is_finalized}
        for one in there.values():
            _judge_size(one, verdict)
        for entry in receipts.pop(sequence.recording, ()):
            found = there.get(entry["topic"])
            is_there = found is not None and found.row_count == entry["rows"]
            verdict.demand(is_there, f"a receipt for {entry['topic']}, which is not there whole")
            is_sure = policy != "delete" or (found and sequence.sessions[found.session])
            verdict.demand(is_sure, f"a receipt for {entry['topic']}, and its session is open")
    for session_id, left in receipts.items():
        verdict.demand(not left, f"receipts for {session_id}, of which nothing is there")
    return verdict


def _receipts(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in entries if one["entry"] == "receipt"]


def _judge_size(topic: StoredTopic, verdict: Verdict) -> None:
    told = topic.metadata.get("recorder", {}).get("rows")
    is_whole = told == topic.row_count
    verdict.demand(is_whole, f"{topic.path} is finalized with {topic.row_count} rows of {told}")


# --- at the end


@dataclass(frozen=True)
class Allowed:
    """What a campaign did that leaves traces.

    Args:
        spent_names: a key that may not delete was used: names may be spent, sessions left open.
        gone: rows of segments that were given up on the way, and of records that were damaged, by
            session and lane: they may be on the server or not.
    """

    spent_names: bool = False
    gone: dict[tuple[str, str], set[int]] = field(default_factory=dict)


def judge_end(known: Known, station: Path, allowed: Allowed) -> Verdict:
    """Judge what the server holds when everything was uploaded."""
    verdict = judge_now(known.data, station, [one.id for one in known.sessions])
    found = stored.read(station)
    for session in known.sessions:
        mine = [one for one in found if one.recording == session.id]
        verdict.demand(len(mine) == 1, f"{session.id} has {len(mine)} sequences")
        for sequence in mine:
            _judge_session(known, session, sequence, allowed, verdict)
    return verdict


def _judge_session(
    known: Known,
    session: Recorded,
    sequence: StoredSequence,
    allowed: Allowed,
    verdict: Verdict,
) -> None:
    journal = upload_journal(known.data, session.id)
    kinds = Counter(one["entry"] for one in journal)
    verdict.demand(kinds["done"] == 1, f"{sequence.name}: {kinds['done']} entries done")
    verdict.demand(not kinds["parked"], f"{sequence.name}: parts are parked")
    parts = Counter(one["part"] for one in _receipts(journal))
    twice = [part for part, count in parts.items() if count > 1]
    verdict.demand(not twice, f"{sequence.name}: two receipts for parts {twice}")
    whole = [one for one in sequence.topics if one.is_finalized and one.lane == SUMMARY]
    verdict.demand(len(whole) == 1, f"{sequence.name}: {len(whole)} commit marks")
    if len(whole) == 1:
        manifest = whole[0].metadata["manifest"]
        counted = {one["topic"] for one in manifest["topics"]}
        # Of what was given up on the way perhaps only the server had the values.
        unknown = None if any(one == session.id for one, _ in allowed.gone) else ""
        _judge_commit_mark(sequence, whole[0], unknown, verdict)
        _judge_leftovers(sequence, whole[0], manifest["abandoned"], allowed, verdict)
        topics = [one for one in sequence.topics if one.path in counted or one is whole[0]]
        _judge_rows(session, known.data, topics, allowed.gone, verdict)
        left = [one for one in sequence.topics if one not in topics]
        _judge_broken(session, known.data, left, allowed.gone, verdict)
        _judge_own_topics(session, known.data, topics, verdict)
        _judge_notes(session, sequence, whole[0].metadata["session"], verdict)


def _judge_commit_mark(
    sequence: StoredSequence,
    summary: StoredTopic,
    unknown: str | None,
    verdict: Verdict,
) -> None:
    ends = {one.path: one.completed_at_ns or 0 for one in sequence.topics}
    last = max(ends, key=lambda path: ends[path])
    verdict.demand(last == summary.path, f"{sequence.name}: {last} came after the commit mark")
    made = {one.path: one for one in sequence.topics}
    for told in summary.metadata["manifest"]["topics"]:
        name = told["topic"]
        topic = made.get(name)
        if topic is None or not topic.is_finalized:
            verdict.problems.append(f"{sequence.name}/{name} is in the manifest and not there")
            continue
        times = [(first, last) for _, _, first, last in topic.files]
        is_so = (
            topic.row_count == told["rows"]
            and min(times)[0] == told["first_ns"]
            and max(last for _, last in times) == told["last_ns"]
            and told["digest"] in (digest(file for file, *_ in topic.files), unknown)
            and not told["too_large"]
        )
        verdict.demand(is_so, f"{sequence.name}/{name} is not as the manifest says")


def _judge_leftovers(
    sequence: StoredSequence,
    summary: StoredTopic,
    abandoned: list[str],
    allowed: Allowed,
    verdict: Verdict,
) -> None:
    manifest = {one["topic"] for one in summary.metadata["manifest"]["topics"]}
    held_open: set[str] = set()
    for one in sequence.topics:
        if one.path in manifest or one is summary:
            continue
        is_told = one.path in abandoned
        verdict.demand(is_told, f"{sequence.name}/{one.path} is in no list of the manifest")
        verdict.demand(allowed.spent_names, f"{sequence.name}/{one.path} could be deleted")
        if one.is_finalized:
            verdict.doubled += one.row_count
            verdict.problems.append(f"{sequence.name}/{one.path} is whole, and was sent again")
        else:
            held_open.add(one.session)
    filled = {one.session for one in sequence.topics}
    for locator, is_closed in sequence.sessions.items():
        is_left = locator in held_open or (locator not in filled and allowed.spent_names)
        verdict.demand(is_closed or is_left, f"{sequence.name}: session {locator} is left open")


def _judge_rows(
    session: Recorded,
    data: Path,
    topics: list[StoredTopic],
    gone: dict[tuple[str, str], set[int]],
    verdict: Verdict,
) -> None:
    final = next(one for one in topics if one.lane == SUMMARY)
    accounts = {one["name"]: one for one in final.metadata["session"]["lanes"]}
    for lane in LANES:
        where = f"{session.id} {lane}"
        rows = [row for one in topics if one.lane == lane for row in one.rows()]
        optional = gone.get((session.id, lane), set())
        due = session.expected(data, lane, also=optional)
        missing = _compare(rows, due, optional, where, verdict)
        _judge_ledger(accounts[lane], len(rows), missing, where, verdict)


def _judge_broken(
    session: Recorded,
    data: Path,
    topics: list[StoredTopic],
    gone: dict[tuple[str, str], set[int]],
    verdict: Verdict,
) -> None:
    """Judge what is left of streams that broke: rows that were recorded, and no others."""
    for one in topics:
        rows = one.rows() if one.lane in LANES else []
        optional = gone.get((session.id, one.lane), set())
        due = _by_number(session.expected(data, one.lane, also=optional)) if rows else {}
        wrong = [row for row in rows if due.get(row["header.sample_counter"]) != row]
        verdict.foreign += len(wrong)
        verdict.demand(not wrong, f"{session.id}/{one.path}: {len(wrong)} rows nobody recorded")


def _by_number(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return rows by their numbers, without what is null."""
    return {
        one["header.sample_counter"]: {
            key: value for key, value in one.items() if value is not None
        }
        for one in rows
    }


def _compare(
    rows: list[dict[str, Any]],
    expected: list[dict[str, Any]],
    optional: set[int],
    where: str,
    verdict: Verdict,
) -> int:
    """Compare every column of every row; return how many optional rows are not there."""
    due = _by_number(expected)
    seen = Counter(one["header.sample_counter"] for one in rows)
    missing = due.keys() - seen.keys()
    lost = missing - optional
    doubled = sum(seen.values()) - len(seen)
    wrong = [one for one in rows if due.get(one["header.sample_counter"]) != one]
    times = [one["timestamp_ns"] for one in rows]
    verdict.demand(not lost, f"{where}: {len(lost)} rows lost, from {min(lost, default=0)}")
    verdict.demand(not doubled, f"{where}: {doubled} rows twice")
    verdict.demand(times == sorted(set(times)), f"{where}: times do not rise")
    for one in wrong[:SHOWN]:
        number = one["header.sample_counter"]
        off = {key: value for key, value in one.items() if due.get(number, {}).get(key) != value}
        verdict.problems.append(f"{where}: row {number} is not what was acquired: {off!r:.200}")
    verdict.lost += len(lost)
    verdict.doubled += doubled
    verdict.foreign += len(wrong)
    verdict.rows += len(rows) - len(wrong)
    return len(missing & optional)


def _judge_ledger(
    account: dict[str, Any], rows: int, missing: int, where: str, verdict: Verdict
) -> None:
    lost = {key: account[f"lost_{key}"] for key in ("evicted", "crc", "rejected")}
    told = account["delivered"] + account["pending"] + sum(lost.values())
    verdict.demand(account["delivered"] == rows, f"{where}: {account['delivered']} told of {rows}")
    verdict.demand(account["stored"] == told, f"{where}: the ledger does not balance: {account}")
    verdict.demand(not account["pending"] and not lost["rejected"], f"{where}: {account}")
    is_told = lost["evicted"] + lost["crc"] >= missing
    verdict.demand(is_told, f"{where}: {missing} given up or damaged, told of {lost}")


def _judge_own_topics(
    session: Recorded, data: Path, topics: list[StoredTopic], verdict: Verdict
) -> None:
    entries = lines(data / session.folder / "journal")
    journal = upload_journal(data, session.id)
    finals = [one["session"] for one in journal if one["entry"] == "final"]
    verdict.demand(len(finals) == 1, f"{session.id}: {len(finals)} terminal records")
    beats = [one["session"] for one in entries if one["entry"] == "session"]
    marks = [
        {key: value for key, value in one.items() if key != "entry"}
        for one in entries
        if one["entry"] == "mark"
    ]
    for lane, due in {SESSION_LOG: [*beats, *finals], MARKS: marks, SUMMARY: finals}.items():
        rows = [row for one in topics if one.lane == lane for row in one.rows()]
        texts = [json.loads(row["data"]) for row in rows]
        verdict.demand(texts == due, f"{session.id}/{lane}: not what the journal says")


def _judge_notes(
    session: Recorded, sequence: StoredSequence, final: dict[str, Any], verdict: Verdict
) -> None:
    ends = [one for one in sequence.notes if f"{session.id}/end" in one]
    due = 0 if final["state"] == "closed" else 1
    told = f"{sequence.name} ended {final['state']}: {sequence.notes}"
    verdict.demand(len(ends) == due, told)
    verdict.demand(len(sequence.notes) == len(ends), told)
