"""The recording's sequence on the server: found again by its id, or made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from recorder.clock import basic_utc
from recorder.errors import RemoteRefusedError
from recorder.replaced import recording_of
from recorder.upload.describe import sequence_metadata, start_utc_ns
from recorder.upload.naming import abandoned_mark, sequence_name

if TYPE_CHECKING:
    from recorder.clock import Mapping
    from recorder.mosaico import MosaicoClient
    from recorder.session.session import Session
    from recorder.upload.log import UploadLog


def find_or_make(
    client: MosaicoClient, journal: UploadLog, session: Session, mapping: Mapping, server: str
) -> None:
    """Make sure that the recording has its sequence; its name is journalled before it is made.

    A name that another recording has taken gets a number.

    Args:
        client: the connection.
        journal: the recording's.
        session: the recording.
        mapping: boot time to UTC.
        server: the server's URL; what is journalled from here on is true of that one alone.

    Raises:
        RemoteRefusedError: the server makes none, or has lost the one that it had.
    """
    start = basic_utc(start_utc_ns(session, mapping))
    number = 1
    name = journal.sequence or sequence_name(session.vehicle, start, session.id, number)
    while not _is_gone_on_with(client, journal, name, session.id):
        if client.describe_sequence(name) is None:
            if any(one.is_delivered for one in journal.parts):
                _refuse_lost(journal, server)
            if journal.sequence != name:
                journal.note("sequence", name=name, server=server)
            replaced = _earlier(client, journal, session.id)
            _make(client, name, sequence_metadata(session, mapping, replaced))
        else:
            number += 1
            name = sequence_name(session.vehicle, start, session.id, number)
    if journal.sequence != name:
        journal.note("sequence", name=name, server=server)


def remove(client: MosaicoClient, journal: UploadLog, session_id: str) -> None:
    """Take the sequence that this upload made off the server, and journal that, or why it stays."""
    if _is_ours(client, journal.sequence, session_id):
        try:
            client.delete_sequence(journal.sequence)
        except RemoteRefusedError as refusal:
            if _is_ours(client, journal.sequence, session_id):
                journal.note("kept", reason=str(refusal))
                return
    journal.note("deleted")


def give_up_earlier(client: MosaicoClient, journal: UploadLog, session_id: str) -> None:
    """Say on each sequence that one sent anew replaces that nothing more comes there, and why.

    What only they hold, since the spool had given it up, counts as evicted in the new one.
    """
    mark = abandoned_mark(session_id)
    for name in _earlier(client, journal, session_id):
        if not any(mark in one.text for one in client.notifications(name)):
            client.notify(name, f"sent anew as {journal.sequence}, which counts {mark}")


def _earlier(client: MosaicoClient, journal: UploadLog, session_id: str) -> list[str]:
    """Return the other sequences of a recording that is sent anew; of any other there are none."""
    if not journal.is_anew:
        return []
    named = [one for one in client.sequences() if session_id[:8] in one]
    return [one for one in named if one != journal.sequence and _is_ours(client, one, session_id)]


def _is_gone_on_with(client: MosaicoClient, journal: UploadLog, name: str, session_id: str) -> bool:
    # One that an earlier upload made may hold more than the spool still has: it is not touched.
    is_another = journal.is_anew and journal.sequence != name
    return not is_another and _is_ours(client, name, session_id)


def _is_ours(client: MosaicoClient, name: str, session_id: str) -> bool:
    found = client.describe_sequence(name)
    return found is not None and recording_of(found.user_metadata).get("id") == session_id


def _refuse_lost(journal: UploadLog, server: str) -> NoReturn:
    # What is sent from here on would be called whole. Its disk may be back at the next look.
    raise RemoteRefusedError(
        f"{server} has lost {journal.sequence}, of which it held parts: bring it back there, or"
        " send all that the spool still holds with --anew"
    )


def _make(client: MosaicoClient, name: str, metadata: dict[str, Any]) -> None:
    try:
        client.create_sequence(name, metadata)
    except RemoteRefusedError as refusal:
        if client.describe_sequence(name) is None:
            raise refusal from None
