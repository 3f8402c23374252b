"""The recording's sequence on the server: found again by its id, or made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.clock import basic_utc
from recorder.errors import RemoteRefusedError
from recorder.upload.delivery import KeyRefusedError
from recorder.upload.describe import sequence_metadata, start_utc_ns
from recorder.upload.naming import sequence_name

if TYPE_CHECKING:
    from recorder.clock import Mapping
    from recorder.mosaico import MosaicoClient
    from recorder.session.session import Session
    from recorder.upload.log import UploadLog


def find_or_make(
    client: MosaicoClient, journal: UploadLog, session: Session, mapping: Mapping
) -> None:
    """Make sure that the recording has its sequence; its name is journalled before it is made.

    A name that another recording has taken gets a number.

    Raises:
        KeyRefusedError: the server makes none.
    """
    start = basic_utc(start_utc_ns(session, mapping))
    number = 1
    name = journal.sequence or sequence_name(session.vehicle, start, session.id, number)
    while not _is_ours(client, name, session.id):
        if client.describe_sequence(name) is None:
            if journal.sequence != name:
                journal.note("sequence", name=name)
            _make(client, name, sequence_metadata(session, mapping))
        else:
            number += 1
            name = sequence_name(session.vehicle, start, session.id, number)
    if journal.sequence != name:
        journal.note("sequence", name=name)


def _is_ours(client: MosaicoClient, name: str, session_id: str) -> bool:
    found = client.describe_sequence(name)
    recording = found.user_metadata.get("recording") if found else None
    return isinstance(recording, dict) and recording.get("id") == session_id


def _make(client: MosaicoClient, name: str, metadata: dict[str, Any]) -> None:
    try:
        client.create_sequence(name, metadata)
    except RemoteRefusedError as refusal:
        if client.describe_sequence(name) is None:
            raise KeyRefusedError(str(refusal)) from refusal
