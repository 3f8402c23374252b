"""The store of dependencies: what sessions need to be read, each content once.

    dependencies/<type>/<sha256>        beside the spool proper, 64 hex digits, nothing but content

A dependency's id is ``sha256:`` and the digest of its content, so an id never means another
content, and the same calibration, named by a thousand sessions, lies here once. It is written
once, durably, by the one process that writes the spool; it is verified whenever it is read. It
outlives every session: nothing here is given up for space.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recorder import durable
from recorder.errors import DamagedError, SpoolError
from recorder.spool.places import listed

# `hashlib` loads all of OpenSSL: 4 MB of memory for a process that digests a few small files. So
# the interpreter's own is taken where it has one, as CPython's `random` does for the same reason.
try:
    if sys.version_info >= (3, 12):
        from _sha2 import sha256
    else:
        from _sha256 import sha256
except ImportError:
    from hashlib import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: A larger one does not belong in every upload's way: name it by a digest, keep it elsewhere.
MOST_BYTES = 4 * 1024 * 1024
_TYPE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_ID = re.compile(r"sha256:([0-9a-f]{64})")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Dependency:
    """One content of the store.

    Args:
        kind: its type, such as ``calibration``.
        id: ``sha256:`` and 64 hex digits.
        size_bytes: its length.
    """

    kind: str
    id: str
    size_bytes: int


def content_id(content: bytes) -> str:
    """Return the id of a content.

    >>> content_id(b"")[:20]
    'sha256:e3b0c44298fc1'
    """
    return f"sha256:{sha256(content).hexdigest()}"


def content_of(path: Path) -> bytes:
    """Read a file that is to become a dependency; never waits for a writer, and never for long.

    Raises:
        SpoolError: it is none, or larger than `MOST_BYTES`; the text says what was found and what
            is allowed.
    """
    try:
        content = _first_bytes(path, MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path that cannot be one
        found = error.strerror if isinstance(error, OSError) else str(error)
    else:
        if len(content) <= MOST_BYTES:
            return content
        found = f"more than {MOST_BYTES} bytes"
    raise SpoolError(f"{path}: {found}; must be a file of at most {MOST_BYTES} bytes")


def _first_bytes(path: Path, most: int) -> bytes:
    kind = stat.S_IFMT(path.stat().st_mode)  # asked first: some devices act on being opened
    if kind != stat.S_IFREG:
        raise OSError(0, f"is {_KINDS.get(kind, 'no file')}")
    # Without waiting, should it become a pipe meanwhile, or be one that looks like a file (/proc).
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        content = b""
        while len(content) < most and (more := os.read(descriptor, most - len(content))):
            content += more
        return content
    finally:
        os.close(descriptor)


def is_id(text: str) -> bool:
    """Tell whether a text is the id of some content."""
    return _ID.fullmatch(text) is not None


class Dependencies:
    """The store, for reading and for the one process that writes it.

    Args:
        directory: its folder; need not exist.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, kind: str, content: bytes) -> str:
        """Keep a content; durable on return. One that is there already is only verified.

        Returns:
            Its id.

        Raises:
            SpoolError: the type is none (``a-z 0-9 _ -``, 1 to 64), or the content is larger than
                `MOST_BYTES`.
            OSError: the disk does not take it; it is not there.
        """
        if not _TYPE.fullmatch(kind):
            raise SpoolError(f"type {kind!r}: must be of a-z 0-9 _ -, 1 to 64 characters")
        if len(content) > MOST_BYTES:
            raise SpoolError(f"{len(content)} bytes; a dependency has at most {MOST_BYTES}")
        found = content_id(content)
        path = self._path(kind, found)
        if _is_whole(path, found):
            return found
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(path, [content])
        for folder in (self._directory, self._directory.parent):
            durable.sync_directory(folder)
        return found

    def get(self, kind: str, start: str) -> tuple[Dependency, bytes]:
        """Return a dependency and its content, verified.

        Args:
            kind: its type.
            start: its id, or the first characters of its digest, enough to tell it.

        Raises:
            SpoolError: there is none, or several begin so.
            DamagedError: its bytes are not what was kept.
        """
        digits = start.removeprefix("sha256:")
        there = [one for one in self.all() if one.kind == kind and one.id[7:].startswith(digits)]
        if len(there) != 1:
            what = "several dependencies begin" if there else "no dependency begins"
            raise SpoolError(f"{self._directory}: {what} with {kind}:{start}")
        path = self._path(kind, there[0].id)
        content = path.read_bytes()
        if content_id(content) != there[0].id:
            raise DamagedError(f"{path}: its bytes are not those that were kept; add it again")
        return there[0], content

    def all(self) -> list[Dependency]:
        """Return everything that is there, by type and id; contents are not read."""
        return [
            Dependency(folder.name, f"sha256:{path.name}", path.stat().st_size)
            for folder in sorted(listed(self._directory))
            if _TYPE.fullmatch(folder.name) and folder.is_dir()
            for path in sorted(listed(folder))
            if _DIGEST.fullmatch(path.name)
        ]

    def missing(self, named: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Return what is named, type to ids, and not there as it was kept; contents are read."""
        absent = {
            kind: [one for one in ids if not self._is_there(kind, one)]
            for kind, ids in named.items()
        }
        return {kind: ids for kind, ids in absent.items() if ids}

    def _is_there(self, kind: str, one: str) -> bool:
        return bool(_TYPE.fullmatch(kind)) and is_id(one) and _is_whole(self._path(kind, one), one)

    def _path(self, kind: str, one: str) -> Path:
        return self._directory / kind / one.removeprefix("sha256:")


def _is_whole(path: Path, wanted: str) -> bool:
    try:
        return content_id(content_of(path)) == wanted
    except SpoolError:  # it is not there, or its place on the disk cannot be read
        return False
