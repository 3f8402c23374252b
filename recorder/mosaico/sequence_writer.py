"""Making a sequence and writing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.errors import RemoteError
from recorder.mosaico.policies import SessionLevelErrorPolicy
from recorder.mosaico.session_writer import SessionWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recorder.mosaico.server import Server


class SequenceWriter(SessionWriter):
    """Makes a sequence and writes its first session.

    Args:
        server: the connection.
        sequence_name: new on the server; a letter or digit, then ``A-Za-z0-9_-``.
        metadata: facts about the sequence; can never be changed. Keys: ``A-Za-z0-9 _-``.
        on_error: Report keeps what arrived, Delete removes the whole sequence.
    """

    def __init__(
        self,
        server: Server,
        sequence_name: str,
        metadata: Mapping[str, Any],
        on_error: SessionLevelErrorPolicy,
    ) -> None:
        super().__init__(server, sequence_name, on_error)
        self._metadata = metadata

    def __enter__(self) -> SequenceWriter:
        self._server.create_sequence(self._name, self._metadata)
        try:
            self._session = self._server.create_session(self._name)
        except RemoteError:
            if self._on_error is SessionLevelErrorPolicy.Delete:
                self._remove()
            raise
        return self

    def _remove(self) -> None:
        self._server.delete_sequence(self._name)
