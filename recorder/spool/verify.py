"""Reading a whole spool and saying what is wrong with it: the engine of ``recorder verify``.

Every record of every segment of every session is read and held against its checksum, its place, its
lane and its number; every journal against its lines. Nothing is written. A spool that is being
recorded into can be verified too: what is half written at its end counts as torn.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from recorder import record
from recorder.errors import DamagedError, SpoolError
from recorder.spool import journal
from recorder.spool.findings import LaneCheck, SessionCheck, SpoolCheck
from recorder.spool.holes import Gap, explain
from recorder.spool.leftovers import unknown
from recorder.spool.names import segments_in
from recorder.spool.places import listed
from recorder.spool.segment import MAGIC, Hole, SegmentReader, has_head
from recorder.spool.spool import Spool
from recorder.spool.standing import standing
from recorder.spool.window import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recorder.schema import LaneSchema
    from recorder.session.session import Session

    Progress = Callable[[int, int], None]


def verify(directory: Path, progress: Progress | None = None) -> SpoolCheck:
    """Read every byte of a spool; nothing is written.

    Args:
        directory: the folder with the file ``FORMAT``.
        progress: called after each segment with the bytes read so far and the bytes in all.

    Raises:
        SpoolError: it is not a spool.
        SpoolFormatError: it is one of a format that this version does not know.
        OSError: it, or something in it, cannot be read.
    """
    return _Verifier(Spool(directory), progress).run()


class _Verifier:
    def __init__(self, spool: Spool, progress: Progress | None) -> None:
        self._spool = spool
        self._progress = progress
        self._found = SpoolCheck(str(spool.directory))
        self._bytes_in_all = 0
        with contextlib.suppress(OSError):  # it is for the progress alone; `run` says what is wrong
            lanes = spool.directory.glob("sessions/*/*")
            files = [path for lane in lanes for path in segments_in(lane)]
            self._bytes_in_all = sum(path.stat().st_size for path in files)

    def run(self) -> SpoolCheck:
        if self._spool.is_mark_damaged:
            self._found.problems.append(f"{self._spool.directory / 'FORMAT'}: damaged")
        folders = {path.name for path in self._spool.session_dirs()}
        known = self._spool.session_ids()
        for path in self._spool.damaged():
            self._found.problems.append(f"{path}: cannot be looked at")
        for session_id in [*known, *sorted(folders - set(known))]:
            self._found.sessions.append(self._read(session_id))
        for boot in sorted(listed(self._spool.directory / "boots")):
            self._found.problems += _journal_problems(boot / "anchors")
        self._found.unknown = [str(path) for path in unknown(self._spool)]
        return self._found

    def _read(self, session_id: str) -> SessionCheck:
        try:
            return self._session(session_id)
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            return SessionCheck(session_id, problems=[f"cannot be read: {error}"])

    def _session(self, session_id: str) -> SessionCheck:
        found = SessionCheck(session_id)
        walks = [self._lane(session_id, lane) for lane in self._spool.lanes(session_id)]
        # After the segments: one that was given up meanwhile has its tombstone by now.
        path = self._spool.journal_path(session_id)
        if path.exists() and not path.is_file():
            found.problems.append(f"{path}: is no journal, but something else")
            return found
        entries = self._spool.entries(session_id)
        found.problems += _journal_problems(path)
        session: Session | None = None
        try:
            session = self._spool.session(session_id)
            known = standing(self._spool, session_id, entries)
            found.state, found.recording = known.session.state.name, session.recording
            found.given_up = sum(known.given_up.values())
        except SpoolError as error:
            found.problems.append(str(error))
        for walk in walks:
            mine = [entry for entry in entries if entry.get("lane") == walk.found.lane]
            walk.judge(mine)
            walk.look_for_files(self._spool.session_dir(session_id), mine)
            found.lanes.append(walk.found)
        if session is not None and session.recording == "stopped":
            _judge_ledger(found, session, entries)
        return found

    def _lane(self, session_id: str, lane: str) -> _Walk:
        walk = _Walk(lane, session_id)
        paths = self._spool.segments(session_id, lane)
        newest = next((path for path in reversed(paths) if has_head(path)), None)
        for path in paths:
            try:
                size = path.stat().st_size
                walk.read(path, is_newest=path == newest)
            except FileNotFoundError:
                continue  # given up since the folder was listed; its tombstone says so
            self._found.bytes += size
            if self._progress is not None:
                self._progress(self._found.bytes, max(self._bytes_in_all, self._found.bytes))
        return walk


class _Walk:
    """Goes through a lane's segments from the oldest to the newest."""

    def __init__(self, lane: str, session_id: str) -> None:
        self.found = LaneCheck(lane)
        self._gaps: list[Gap] = []
        self._session_id = session_id
        self._holes: list[tuple[Path, Hole]] = []
        #: Holes that recovery after a loss of power noted: file, offset, length.
        self._noted: list[list[Any]] = []
        #: By path, where the last valid record ends.
        self._ends: dict[Path, int] = {}
        self._last: dict[int, record.Header] = {}

    def read(self, path: Path, *, is_newest: bool) -> None:
        found = self.found
        found.segments += 1
        try:
            segment = SegmentReader(path)
        except DamagedError as error:
            self._headless(path, str(error))
            return
        with segment:
            self._check_head(path, segment)
            self._ends[path] = segment.begin_bytes
            for offset, one in segment.scan():
                if isinstance(one, record.Header):
                    self._check(path, offset, one, segment.head.schema)
                    self._ends[path] = offset + one.size_bytes
                elif one.is_tail and is_newest:
                    found.torn_bytes += one.size_bytes
                else:
                    self._holes.append((path, one))
                    if one.is_tail:
                        del self._ends[path]  # told already
            if segment.is_head_damaged and self._ends.get(path, 0) > segment.begin_bytes:
                text = f"{path}: its head does not verify; the journal has it"
                self._damage(text, segment.begin_bytes)

    def _headless(self, path: Path, text: str) -> None:
        raw = path.read_bytes()
        if record.MAGIC in raw:
            self._damage(text, len(raw))
        elif any(raw[: len(MAGIC)]) and not MAGIC.startswith(raw[: len(MAGIC)]):
            self._damage(f"{path}: is no segment", len(raw))
        else:
            self.found.torn_bytes += len(raw)  # cut off, or left as zeros, before its first commit

    def _check_head(self, path: Path, segment: SegmentReader) -> None:
        head = segment.head
        is_ours = head.session_id.hex() == self._session_id.replace("-", "")
        if head.schema.lane != self.found.lane or not is_ours:
            self.found.problems.append(f"{path}: its head says that it belongs elsewhere")

    def _check(self, path: Path, offset: int, header: record.Header, schema: LaneSchema) -> None:
        found = self.found
        found.records += 1
        found.rows += header.rows
        gap = Gap.between(self._last.get(header.epoch), header)
        self._gaps += [gap] if gap else []
        self._last[header.epoch] = header
        if header.lane != record.lane_id(schema.lane):
            found.problems.append(f"{path}, byte {offset}: a record of another lane")
        if not _fits(header, schema):
            found.problems.append(
                f"{path}, byte {offset}: {header.payload_bytes} bytes are not {header.rows} rows"
            )

    def _hole(self, path: Path, hole: Hole) -> None:
        if [path.name, hole.offset, hole.size_bytes] in self._noted:
            self.found.torn_bytes += hole.size_bytes
            return
        where = f"{path}, byte {hole.offset}"
        self._damage(f"{where}: {hole.size_bytes} bytes are no valid record", hole.size_bytes)

    def _damage(self, text: str, size_bytes: int) -> None:
        self.found.damaged_records += 1
        self.found.damaged_bytes += size_bytes
        self.found.problems.append(text)

    def judge(self, entries: list[dict[str, Any]]) -> None:
        """Tell the missing numbers apart by what the journal says of this lane."""
        found = self.found
        self._noted = [
            hole for one in entries if one["entry"] == "recovered" for hole in one["holes"]
        ]
        tombs = {one["file"]: one["rows"] for one in entries if one["entry"] == "evicted"}
        found.evicted = sum(tombs.values())
        for path, hole in self._holes:
            self._hole(path, hole)
        for one in explain(self._gaps, entries):
            found.torn += one.torn
            found.lost_ring += one.lost_ring
            found.missing += one.missing
            found.doubled += one.doubled
            if one.missing:
                found.problems.append(
                    f"{found.lane}: of the samples from number {one.begin} on {one.missing} are "
                    "missing, and nothing says why"
                )
            if one.doubled:
                found.problems.append(
                    f"{found.lane}: {one.doubled} samples before number {one.begin} are there twice"
                )

    def look_for_files(self, folder: Path, entries: list[dict[str, Any]]) -> None:
        """Notice sealed segments that are gone without a tombstone, or shorter than they were."""
        evicted = {one["file"] for one in entries if one["entry"] == "evicted"}
        sealed = {one["file"]: one["bytes"] for one in entries if one["entry"] == "sealed"}
        for name in sorted(set(sealed) - evicted):
            path = folder / self.found.lane / name
            if not path.exists():
                self.found.problems.append(f"{path}: a sealed segment that is not there")
            elif sealed[name] > (end := self._ends.get(path, sealed[name])):
                size = sealed[name] - end
                self._hole(path, Hole(end, size, is_tail=True))
                self.found.torn_bytes = max(self.found.torn_bytes - size, 0)


def _fits(header: record.Header, schema: LaneSchema) -> bool:
    """Tell whether a record's payload has the length that its rows need."""
    if header.kind != record.DATA:
        return header.rows == 0
    if schema.blob is not None:
        return header.rows == 1 and header.payload_bytes >= schema.row_bytes
    return header.payload_bytes == header.rows * schema.row_bytes


def _judge_ledger(found: SessionCheck, session: Session, entries: list[dict[str, Any]]) -> None:
    """Notice samples at a lane's end that were stored when the recording stopped and are gone."""
    checks = {one.lane: one for one in found.lanes}
    for account in session.lanes:
        check = checks.setdefault(account.name, LaneCheck(account.name))
        buried = sum(
            one["rows"]
            for one in entries
            if one["entry"] == "evicted" and one["lane"] == account.name
        )
        known = check.rows + buried + max(account.lost_crc, check.missing)
        if account.stored > known:
            gone = account.stored - known
            check.missing += gone
            check.problems.append(f"{account.name}: its last {gone} samples are gone")
    found.lanes = list(checks.values())


def _journal_problems(path: Path) -> list[str]:
    read = journal.contents(path)
    problems: list[str] = []
    if read.damaged_lines:
        problems.append(f"{path}: {read.damaged_lines} lines of the journal do not verify")
    return problems
