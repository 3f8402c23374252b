"""A recording that a person asks to be sent anew: whether there is cause, and its new journal.

There is if it went to another server, if the disk damaged its journal, or if the server does not
hold any more all that it got (its disk was replaced, or somebody deleted there). The server is
asked, also about what was delivered whole, and what it says it has is read back: its catalogue may
have outlived its files. The journal of the old upload goes to ``elsewhere/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.errors import DamagedError, RecorderError
from recorder.spool import journal
from recorder.upload.compare import compare
from recorder.upload.log import UploadLog
from recorder.upload.state import UploadState

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.mosaico import MosaicoClient, TopicInfo
    from recorder.upload.state import Progress


def begin_anew(client: MosaicoClient, path: Path, server: str) -> None:
    """Begin the journal of an upload anew, if there is cause; durable on return.

    An upload that is under way, and of which the server has all that it got, goes on as it is.

    Args:
        client: a connection to the server.
        path: the journal.
        server: the server's URL.

    Raises:
        RecorderError: the server still has the whole recording.
        RemoteError: the server cannot be asked.
    """
    try:
        state = UploadState(journal.read(path))
    except DamagedError:
        UploadLog.anew(path).close()
        return
    if state.server not in ("", server) or not _has_all(client, state):
        # What was issued under another id keeps that: the recording's own was given up.
        UploadLog.anew(path, **({"id": state.reissued_as} if state.reissued_as else {})).close()
    elif state.is_done:
        sent = [one for one in state.parts if one.is_delivered and not one.part.is_own]
        raise RecorderError(
            f"{server} still has all {sum(one.rows for one in sent)} samples of {state.sequence}:"
            " nothing of it is sent anew; if it is to be, delete the sequence there"
        )


def _has_all(client: MosaicoClient, state: UploadState) -> bool:
    """Tell whether a server holds all that the journal says it got."""
    delivered = [one for one in state.parts if one.is_delivered]
    found = client.describe_sequence(state.sequence) if delivered else None
    there = {one.locator: one for one in found.topics} if found else {}
    if not all(_is_whole(there.get(f"{state.sequence}/{one.topic}"), one) for one in delivered):
        return False
    return not compare(client, state, None, lambda _: None).wrong


def _is_whole(found: TopicInfo | None, sent: Progress) -> bool:
    return (
        found is not None
        and found.locked
        and found.row_count in (None, sent.rows)  # servers before 0.7 do not count
        and (found.first_ns, found.last_ns) == (sent.first_ns, sent.last_ns)
    )
