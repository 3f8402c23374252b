"""A recording that was given up at its server, and whose vehicle comes back: it is issued anew.

What somebody abandoned (`recorder watch`) stays as it is: nothing more comes under its id. Once its
recording has ended, all that the spool still holds of it is sent under an id of its own, which
names the abandoned one among its `sources`. What the server had got before and the spool has given
up since counts as evicted there: it lies under the old id.

The journal of the old upload goes to ``elsewhere/``; the new one begins with ``anew`` and the new
id. In the spool the recording keeps its own.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from typing import TYPE_CHECKING, Any

from recorder.errors import RemoteRefusedError
from recorder.upload.log import UploadLog
from recorder.upload.naming import abandoned_mark
from recorder.upload.parts import MARKS
from recorder.upload.rows import Line, own_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from recorder.mosaico import MosaicoClient
    from recorder.session.session import Session
    from recorder.upload.state import UploadState

log = logging.getLogger(__name__)


def is_given_up(client: MosaicoClient, sequence: str, recording_id: str) -> bool:
    """Tell whether somebody abandoned a recording; a key that may not ask never learns it.

    Raises:
        RemoteAwayError: the server is not there.
    """
    mark = abandoned_mark(recording_id)
    try:
        return any(mark in one.text for one in client.notifications(sequence))
    except RemoteRefusedError:
        return False


def issue_anew(journal: UploadLog) -> UploadLog:
    """Put an upload's journal away and begin another, under a new id; durable on return.

    A death in between leaves none: then it is asked, and done, once more.
    """
    journal.close()
    begun = UploadLog.anew(journal.path, id=str(uuid.uuid4()))
    name = journal.path.name
    log.warning("recording %s was abandoned: it is sent as %s", name, begun.reissued_as)
    return begun


def issued(record: Mapping[str, Any], new_id: str) -> dict[str, Any]:
    """Return a session's record as it is issued: under a new id, if that is not empty."""
    if not new_id:
        return dict(record)
    return {**record, "id": new_id, "sources": [*record["sources"], record["id"]]}


def issued_session(session: Session, new_id: str) -> Session:
    """Return a session as it is issued, likewise."""
    plain = issued({"id": session.id, "sources": session.sources}, new_id)
    return dataclasses.replace(session, id=plain["id"], sources=plain["sources"])


def lines_of(topic: str, entries: Iterable[dict[str, Any]], state: UploadState) -> Iterator[Line]:
    """Return all rows of an own topic so far, as they are issued (`recorder.upload.rows`).

    Args:
        topic: which.
        entries: the session's journal in the spool.
        state: of its upload.
    """
    lines = own_lines(topic, entries, state.final)
    if topic == MARKS or not state.reissued_as:
        return lines
    return (Line(one.boot_ns, issued(one.facts, state.reissued_as)) for one in lines)
