"""The end of a session's life in the spool: nothing of it is left but its journal, and that goes.

The session's folder is moved to ``gone/<session id>``, which is done or not done, and made durable;
then what is in it is removed. The empty folder stays while the uploader has a journal of the
session: that is the uploader's own to forget, and the folder tells it to. Then the folder goes too.
Whatever lies under ``gone`` may be removed at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.durable import sync_directory
from recorder.spool.places import is_folder, listed

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.spool.spool import Spool


def is_bare(folder: Path) -> bool:
    """Tell whether a session's folder holds its journal and nothing else but empty folders."""
    for one in listed(folder):
        if is_folder(one):
            if listed(one):
                return False
        elif one.name not in ("journal", ".journal"):
            return False
    return True


def remove(spool: Spool, session_id: str) -> None:
    """Remove a bare session; durable on return.

    Raises:
        OSError: the disk does not take it; the session is there, or gone as a whole.
    """
    gone = _gone(spool)
    if not gone.is_dir():
        gone.mkdir()
        sync_directory(gone.parent)
    folder = spool.session_dir(session_id)
    folder.rename(gone / session_id)
    # Nobody may forget about it before: it could come back.
    sync_directory(gone)
    sync_directory(folder.parent)


def removed(spool: Spool) -> list[str]:
    """Return the ids of removed sessions whose folders are empty: what is told of them may go."""
    return [one.name for one in listed(_gone(spool)) if one.is_dir() and not listed(one)]


def clear(spool: Spool, upload_dir: Path) -> None:
    """Remove what is left of removed sessions, as far as nobody needs it any more.

    Raises:
        OSError: the disk does not take it; the next call tries again.
    """
    for folder in listed(_gone(spool)):
        for one in listed(folder):
            _discard(one)
        if not (upload_dir / folder.name).exists():
            folder.rmdir()


def _gone(spool: Spool) -> Path:
    return spool.directory / "gone"


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for one in listed(path):
            one.unlink()
        path.rmdir()
    else:
        path.unlink()
