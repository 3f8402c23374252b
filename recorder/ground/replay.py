"""One recording of a server again, in time order: read in slices, all topics of a slice together.

A slice is read with questions of its own, so that no stream rests while a slow replay waits, and
holds about `SLICE_BYTES`, so that a recording of any length needs the same memory.
"""

from __future__ import annotations

import fnmatch
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recorder.errors import RecorderError
from recorder.ground.merge import TIME
from recorder.ground.observe import SUMMARY, issue
from recorder.replaced import counting, note, recording_of, successor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from recorder.mosaico import MosaicoClient, SequenceInfo, TopicInfo
    from recorder.service import Stop

SLICE_BYTES = 32 * 1024 * 1024
#: A first guess until the bytes of a row are known, and how fast the guess may change.
_FIRST_ROWS, _GROWTH = 10_000, 4
#: A paced replay gives its rows so often, in s of the one who listens.
PACE_STEP_S = 0.2
_PART = re.compile(r"/p\d{6}(-r\d+)?$|-r\d+$")


@dataclass(frozen=True)
class Source:
    """One topic to replay.

    Args:
        lane: what it is a part of; rows of all parts go under this name.
        topic: as the server lists it.
    """

    lane: str
    topic: TopicInfo

    @property
    def first_ns(self) -> int:
        """Time of its first row."""
        return self.topic.first_ns or 0

    @property
    def last_ns(self) -> int:
        """Time of its last row."""
        return self.topic.last_ns or 0


@dataclass(frozen=True)
class Slice:
    """Rows of a span of time.

    Args:
        start_ns: first time, inclusive.
        end_ns: last time, exclusive.
        pieces: of each source that has rows in it, these rows by rising time.
    """

    start_ns: int
    end_ns: int
    pieces: list[tuple[Source, pa.Table]]

    @property
    def size_bytes(self) -> int:
        """Of all rows."""
        return sum(table.nbytes for _, table in self.pieces)

    @property
    def rows(self) -> int:
        """How many."""
        return sum(table.num_rows for _, table in self.pieces)


def find(client: MosaicoClient, wanted: str, tell: Callable[[str], None]) -> SequenceInfo:
    """Find a recording by its id, by the beginning of it, or any sequence by its name.

    Of one that was sent anew, by its id, the sequence that counts (`recorder.replaced`).

    Args:
        client: a connection with the read permission.
        wanted: what to find.
        tell: told if that is being sent anew.

    Raises:
        RecorderError: there is not exactly one.
    """
    is_name = wanted and "/" not in wanted  # that would be a topic
    by_name = client.describe_sequence(wanted) if is_name else None
    if by_name is not None:
        return by_name
    described = (client.describe_sequence(name) for name in client.sequences())
    recordings = [one for one in described if one and recording_of(one.user_metadata)]
    matching = [
        one for one in recordings if recording_of(one.user_metadata)["id"].startswith(wanted)
    ]
    issues = [issue(one) for one in matching]
    names = counting(issues)
    found = [one for one in matching if one.name in names]
    if len(found) != 1:
        raise RecorderError(
            f"{len(found) or 'no'} recordings begin with {wanted!r}; `recorder sessions` lists them"
        )
    if told := note(found[0].name, successor(issues, found[0].name)):
        tell(told)
    return found[0]


def sources(info: SequenceInfo, wanted: Sequence[str] = ()) -> list[Source]:
    """The topics that make up a recording.

    If its commit mark is there, those of its manifest, so that nothing that broke on the way counts
    twice; else every finalized topic.

    Args:
        info: of the sequence.
        wanted: lanes or topic paths, with ``*`` and ``?`` as in a shell; all without any.

    Raises:
        RecorderError: something wanted is not there.
    """
    lanes = _manifest(info)
    found = [
        Source(lanes.get(path) or _lane(one), one)
        for one in info.topics
        if one.locked and (path := _path(one)) in (lanes or {path: ""})
    ]
    for pattern in wanted:
        if not any(_matches(one, pattern) for one in found):
            known = ", ".join(sorted({one.lane for one in found})) or "nothing"
            raise RecorderError(f"{info.name} has no {pattern!r}; it has {known}")
    return [one for one in found if not wanted or any(_matches(one, each) for each in wanted)]


def slices(
    client: MosaicoClient,
    chosen: Iterable[Source],
    start_ns: int | None = None,
    end_ns: int | None = None,
    most_ns: int | None = None,
) -> Iterator[Slice]:
    """All rows of topics, slice by slice of rising time; spans without rows are passed over.

    Args:
        client: a connection with the read permission.
        chosen: what to read.
        start_ns: first time, inclusive, UTC ns, or None.
        end_ns: last time, exclusive, UTC ns, or None.
        most_ns: a slice spans at most this.
    """
    with_rows = [one for one in chosen if one.topic.last_ns is not None]
    if not with_rows:
        return
    at_ns = min(one.first_ns for one in with_rows)
    at_ns = at_ns if start_ns is None else max(at_ns, start_ns)
    stop_ns = max(one.last_ns for one in with_rows) + 1
    stop_ns = stop_ns if end_ns is None else min(stop_ns, end_ns)
    span_ns = _first_span_ns(with_rows, stop_ns - at_ns)
    while at_ns < stop_ns:
        until_ns = min(at_ns + min(span_ns, most_ns or span_ns), stop_ns)
        one = Slice(at_ns, until_ns, list(_pieces(client, with_rows, at_ns, until_ns)))
        if one.rows:
            yield one
        span_ns = _next_span_ns(until_ns - at_ns, one.size_bytes)
        at_ns = until_ns


def wide(one: Slice) -> pa.Table:
    """A slice as one table by rising time, for files that hold rows of all topics.

    Returns:
        Columns `timestamp_ns`, `topic` (the lane), and for each lane a struct of that name with its
        columns, null in the rows of others.
    """
    tables = [_wide(source.lane, table) for source, table in one.pieces]
    return pa.concat_tables(tables, promote_options="default").sort_by(TIME)


def _wide(lane: str, table: pa.Table) -> pa.Table:
    values = table.drop_columns([TIME]).to_struct_array()
    names = pa.chunked_array([pa.repeat(lane, table.num_rows)])
    return pa.table({TIME: table.column(TIME), "topic": names, lane: values})


class Pace:
    """Lets time pass as it did, or faster.

    Args:
        speed: so many seconds of the recording go by in one; None to wait for nothing.
        stop: ends a wait.
    """

    def __init__(self, speed: float | None, stop: Stop) -> None:
        self._speed = speed
        self._stop = stop
        self._begin: tuple[float, int] | None = None

    @property
    def step_ns(self) -> int | None:
        """How much of the recording may come at once."""
        return None if self._speed is None else max(1, round(PACE_STEP_S * 1e9 * self._speed))

    def wait_for(self, time_ns: int) -> bool:
        """Wait until it is time for what was recorded then.

        The first call starts the clock.

        Returns:
            False if the replay is to stop.
        """
        if self._speed is not None:
            begin_s, begin_ns = self._begin = self._begin or (time.monotonic(), time_ns)
            due_s = begin_s + (time_ns - begin_ns) / 1e9 / self._speed
            self._stop.wait(max(0.0, due_s - time.monotonic()))
        return not self._stop.is_set()


# --- inside


def _path(topic: TopicInfo) -> str:
    return topic.locator.partition("/")[2]


def _lane(topic: TopicInfo) -> str:
    told = topic.user_metadata.get("recorder")
    lane = told.get("lane") if isinstance(told, dict) else None
    return str(lane) if lane else _PART.sub("", _path(topic))


def _manifest(info: SequenceInfo) -> dict[str, str]:
    """Path to lane of each topic that counts; empty without a commit mark."""
    marks = [one for one in info.topics if one.locked and _path(one).startswith(SUMMARY)]
    found: dict[str, str] = {}
    for mark in marks:
        told: Any = mark.user_metadata.get("manifest")
        if isinstance(told, dict):
            found = {one["topic"]: one["lane"] for one in told.get("topics", ())}
            found[_path(mark)] = SUMMARY
    return found


def _matches(source: Source, pattern: str) -> bool:
    plain = pattern.strip("/")
    return any(fnmatch.fnmatchcase(name, plain) for name in (source.lane, _path(source.topic)))


def _pieces(
    client: MosaicoClient, chosen: Iterable[Source], start_ns: int, end_ns: int
) -> Iterator[tuple[Source, pa.Table]]:
    for source in chosen:
        if source.first_ns < end_ns and source.last_ns >= start_ns:
            batches = list(client.read(source.topic.locator, start_ns, end_ns))
            if batches:
                yield source, pa.Table.from_batches(batches)


def _first_span_ns(chosen: Iterable[Source], whole_ns: int) -> int:
    rows = sum(one.topic.row_count or _FIRST_ROWS for one in chosen)
    return max(1, whole_ns * _FIRST_ROWS // max(rows, _FIRST_ROWS))


def _next_span_ns(span_ns: int, size_bytes: int) -> int:
    wanted_ns = span_ns * SLICE_BYTES // max(size_bytes, 1)
    return max(1, span_ns // _GROWTH, min(wanted_ns, span_ns * _GROWTH))
