"""When rows met conditions: `topic_filter_clusterize` and `topic_filter_intersect`.

Times of which each follows the one before within a gap are one cluster. An intersection is where
clusters of several topics overlap, or lie no further apart than a tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder.ground.conditions import condition
from recorder.ground.refusals import RefusedError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recorder.ground.actions import Request
    from recorder.ground.conditions import Condition
    from recorder.ground.rows import RowSearch
    from recorder.ground.topics import Topics

_LEAST_TOPICS = 2


@dataclass(frozen=True)
class Cluster:
    """A span of time, both ends inclusive."""

    start_ns: int
    end_ns: int


class Clusters:
    """Answers both actions.

    Args:
        topics: of the station.
        rows: searches their rows.
    """

    def __init__(self, topics: Topics, rows: RowSearch) -> None:
        self._topics = topics
        self._rows = rows

    def clusterize(self, request: Request) -> list[dict[str, Any]]:
        """The clusters of one topic."""
        return _told(self._of_topic(request))

    def intersect(self, request: Request) -> list[dict[str, Any]]:
        """The intersections of several topics of one sequence."""
        asked = request.parts("topics")
        sequences = {one.locator().partition("/")[0] for one in asked}
        if len(asked) < _LEAST_TOPICS or len(sequences) != 1:
            raise RefusedError("at least two topics are required, all of one sequence")
        tolerance_ns = request.time_ns("intersect_dt_ns") or 0
        return _told(intersections([list(self._of_topic(one)) for one in asked], tolerance_ns))

    def _of_topic(self, request: Request) -> Iterator[Cluster]:
        topic = self._topics.get(request.locator())
        wanted = _conditions(topic, request.part("ontology"))
        gap_ns = request.time_ns("clustering_dt_ns") or 0
        span = request.part("timestamp_range")
        start_ns, last_ns = span.time_ns("start_ns"), span.time_ns("end_ns")
        end_ns = None if last_ns is None else last_ns + 1
        return clusters(self._rows.times(topic, wanted, start_ns, end_ns), gap_ns)


def clusters(times: Iterable[int], gap_ns: int) -> Iterator[Cluster]:
    """Put rising times together.

    Args:
        times: in ns.
        gap_ns: times no further apart are of one cluster; 0 for one cluster of all.

    >>> list(clusters([1, 3, 9], 2))
    [Cluster(start_ns=1, end_ns=3), Cluster(start_ns=9, end_ns=9)]
    """
    begun: Cluster | None = None
    for time_ns in times:
        if begun is not None and gap_ns and time_ns - begun.end_ns > gap_ns:
            yield begun
            begun = None
        begun = Cluster(time_ns if begun is None else begun.start_ns, time_ns)
    if begun is not None:
        yield begun


def intersections(found: Sequence[Sequence[Cluster]], tolerance_ns: int) -> Iterator[Cluster]:
    """Where clusters of all topics meet.

    Args:
        found: each topic's clusters by rising time.
        tolerance_ns: clusters so far apart still meet, in the middle between them.

    >>> one, other = [Cluster(0, 5), Cluster(10, 20)], [Cluster(4, 12)]
    >>> [(each.start_ns, each.end_ns) for each in intersections([one, other], 0)]
    [(4, 5), (10, 12)]
    """
    at = [0] * len(found)
    while all(place < len(some) for place, some in zip(at, found, strict=True)):
        current = [some[place] for place, some in zip(at, found, strict=True)]
        latest_ns = max(one.start_ns for one in current)
        earliest = min(range(len(current)), key=lambda topic: current[topic].end_ns)
        end_ns = current[earliest].end_ns
        if latest_ns <= end_ns:
            yield Cluster(latest_ns, end_ns)
        elif latest_ns - end_ns <= tolerance_ns:
            half_ns = tolerance_ns // 2
            yield Cluster(latest_ns - half_ns, end_ns + tolerance_ns - half_ns)
        at[earliest] += 1


def _conditions(topic: sqlite3.Row, asked: Request) -> Mapping[str, Condition]:
    wanted = {key: condition(key, value) for key, value in asked.everything().items()}
    if not wanted:
        raise RefusedError("at least one condition is required")
    tag = topic["ontology_tag"]
    others = {key.partition(".")[0] for key in wanted} - {tag}
    if others:
        raise RefusedError(f"wrong ontology tag {others.pop()}, the topic uses {tag}")
    return {key.partition(".")[2]: one for key, one in wanted.items()}


def _told(found: Iterable[Cluster]) -> list[dict[str, Any]]:
    return [
        {"id": number, "ts": {"start_ns": one.start_ns, "end_ns": one.end_ns}}
        for number, one in enumerate(found)
    ]
