"""The uploader's journal of one session: the file ``upload/<session id>``.

Every entry is durable before the next step is taken, so that whoever comes after a crash knows what
may have happened on the server, and asks. Entries, by ``entry``:

    sequence   the name of the sequence on the server, before it is made, and the server's URL
    opened     a writing session of the server: its uuid, which the server never tells again
    planned    a part (`recorder.upload.parts`); once more with the same number: what was left of it
               in the spool when it was to be sent
    created    a part's topic exists: its name, its uuid, its writing session
    putting    its one stream is about to begin
    put_ok     the server was asked and holds the whole part: first and last `timestamp_ns`, the
               digest of its content, and how many rows were too large for the server
    receipt    as put_ok, and nothing can take it back: the spool may free the segments
    abandoned  the topic broke and could not be deleted: its name is spent
    dropped    nothing of the part was left in the spool before it was sent
    parked     the server refused the part: it will not be sent, and why
    resumed    a person asked to try what was parked again
    sizes      how large a batch and a row may be, as refusals of larger ones taught
    told       a note was left on the server, by its key
    anew       a person asked to send everything again, whatever a server got: no sequence that is
               there already is gone on with, and the new one names those that it replaces; with an
               `id`: the recording was abandoned, and is sent under this one
               (`recorder.upload.reissue`)
    over_cap   a person asked to send the session whatever the month's cap
    deleted    the sequence was taken off the server, as its policy is: all is sent anew, if ever
    kept       it should have been and could not be, and why
    final      the session's terminal record
    finalized  a writing session of the server is closed
    done       the server holds the commit mark, and everything else that it will ever get; its URL
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.durable import sync_directory
from recorder.errors import DamagedError
from recorder.spool.journal import Journal
from recorder.upload.state import UploadState

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.upload.parts import Part
    from recorder.upload.state import Progress


class UploadLog(UploadState):
    """The journal, and what follows from it; one process writes it.

    Args:
        path: its file; made if absent.

    Raises:
        DamagedError: the disk damaged it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal = Journal(path)
        try:
            super().__init__(self._journal.entries)
        except DamagedError:
            self.close()
            raise

    @classmethod
    def anew(cls, path: Path, **facts: str) -> UploadLog:
        """Put a journal away into the folder ``elsewhere``, and begin another; durable on return.

        A death in between leaves none.
        """
        folder = path.parent / "elsewhere"
        folder.mkdir(exist_ok=True)
        number = len(list(folder.glob(f"{path.name}-*")))
        path.replace(folder / f"{path.name}-{number}")
        for one in (folder, path.parent):
            sync_directory(one)
        begun = cls(path)
        begun.note("anew", **facts)
        return begun

    def note(self, entry: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Journal a step; durable on return."""
        whole = {"entry": entry, **facts}
        self._journal.record(whole)
        self._apply(whole)

    def plan(self, part: Part) -> Progress:
        """Journal a new part, or one anew; durable on return."""
        entry = part.to_entry()
        self._journal.record(entry)
        self._apply(entry)
        return self.parts[part.id]

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._journal.close()
