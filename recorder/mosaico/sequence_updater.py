"""Adding topics to a sequence that exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.mosaico.policies import SessionLevelErrorPolicy
from recorder.mosaico.session_writer import SessionWriter

if TYPE_CHECKING:
    from recorder.mosaico.server import Server


class SequenceUpdater(SessionWriter):
    """Writes one more session; what earlier sessions wrote is never touched."""

    def __enter__(self) -> SequenceUpdater:
        self._session = self._server.create_session(self._name)
        return self


class SequenceHandler:
    """An existing sequence; from `MosaicoClient.sequence_handler`.

    Args:
        server: the connection.
        name: of the sequence.
    """

    def __init__(self, server: Server, name: str) -> None:
        self.name = name
        self._server = server

    def update(
        self, on_error: SessionLevelErrorPolicy = SessionLevelErrorPolicy.Report
    ) -> SequenceUpdater:
        """Begin a session that adds topics; `on_error` concerns this session only."""
        return SequenceUpdater(self._server, self.name, on_error)
