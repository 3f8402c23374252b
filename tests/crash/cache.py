"""What of a folder's files is durable, and what a loss of power leaves of them.

A file's bytes are durable as they were when it was synced last, and so are the names in a folder. A
loss of power puts that in place of what is there, with anything between:

- of each page of 4096 bytes that changed since, the old bytes, the new ones, or a mixture by
  sectors of 512, in no order among pages and files; a length anywhere between the two;
- each name that appeared or vanished since, or not. Syncing a file says nothing of its name.

Assumed: a sector is written whole or not at all; a rename is done or not done, never half, and
syncing either of its folders makes it durable; what was once durable does not rot. Not assumed: any
order between two files, between a file and its name, or between two names.

A sync that fails leaves the pages as they are in the cache and marked clean, as on Linux: a later
sync that succeeds does not bring them to the disk unless they were written again, and when the
process has died the cache may have forgotten them.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

_PAGE_BYTES, _SECTOR_BYTES = 4096, 512


@dataclass(eq=False)
class Folder:
    """A folder: an open descriptor of it, its inode's number, and the names that are durable."""

    descriptor: int
    number: int
    durable: dict[str, File | Folder] = field(default_factory=dict)


@dataclass(eq=False)
class File:
    """A file: an open descriptor of it, its inode's number, and the bytes that are durable."""

    descriptor: int
    number: int
    durable: bytes = b""
    #: Pages that a failed sync left in the cache as clean, by their place, as they were then.
    failed: dict[int, bytes] = field(default_factory=dict)

    @property
    def cached(self) -> bytes:
        """What a reader gets."""
        return os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0)

    def sync(self) -> None:
        """Make durable what the cache holds, but not what it takes for clean."""
        now = self.cached
        self.failed = {at: page for at, page in self.failed.items() if _page(now, at) == page}
        self.durable = self._without_failed(now)

    def touch(self, begin: int, end: int) -> None:
        """Note that bytes were written or cut, the same or others: their pages are dirty again."""
        first = begin - begin % _PAGE_BYTES
        self.failed = {at: page for at, page in self.failed.items() if not first <= at < end}

    def fail(self) -> None:
        """Take every page that is not durable for clean."""
        now = self.cached
        for at in range(0, len(now), _PAGE_BYTES):
            if _page(now, at) != _page(self.durable, at):
                self.failed[at] = _page(now, at)

    def forget(self, dice: random.Random) -> None:
        """Let the cache lose any of the pages that it takes for clean: the disk's are read."""
        now = self.cached
        for at, page in list(self.failed.items()):
            if _page(now, at) == page and dice.random() < 0.5:
                descriptor = os.open(f"/proc/self/fd/{self.descriptor}", os.O_WRONLY)
                os.pwrite(descriptor, _page(self.durable, at, len(page)), at)
                os.close(descriptor)

    def _without_failed(self, now: bytes) -> bytes:
        found = bytearray(now)
        for at, page in self.failed.items():
            if _page(now, at) == page:
                found[at : at + len(page)] = _page(self.durable, at, len(page))
        return bytes(found)

    def surviving(self, dice: random.Random) -> bytes:
        """Return what a loss of power leaves."""
        old, new = self.durable, self._without_failed(self.cached)
        if old == new:
            return new
        least, most = sorted((len(old), len(new)))
        size = dice.choice([len(old), len(new), dice.randint(least, most)])
        style = dice.choice(["old", "new", "any", "any"])
        found = b"".join(
            _fate(_page(old, at, _PAGE_BYTES), _page(new, at, _PAGE_BYTES), style, dice)
            for at in range(0, size, _PAGE_BYTES)
        )
        return found[:size]


def _page(whole: bytes, at: int, size: int = 0) -> bytes:
    """Return the page at an offset; of a given size, filled up with zeros."""
    found = whole[at : at + _PAGE_BYTES]
    return found[:size].ljust(size, b"\0") if size else found


def _fate(old: bytes, new: bytes, style: str, dice: random.Random) -> bytes:
    chosen = dice.choice(["old", "new", "torn"]) if style == "any" else style
    if old == new or chosen != "torn":
        return old if chosen == "old" else new
    sectors = range(0, _PAGE_BYTES, _SECTOR_BYTES)
    return b"".join(dice.choice((old, new))[at : at + _SECTOR_BYTES] for at in sectors)


@dataclass(eq=False)
class Rename:
    """A rename that is not durable yet: what, from where, to where."""

    node: File | Folder
    source: Folder
    old_name: str
    target: Folder
    new_name: str

    def complete(self) -> None:
        """Make it durable."""
        if self.source.durable.get(self.old_name) is self.node:
            del self.source.durable[self.old_name]
        self.target.durable[self.new_name] = self.node


class Cache:
    """Knows every file and folder under a root.

    Args:
        root: the folder; its own name is durable.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._nodes: dict[int, File | Folder] = {}
        self._renames: list[Rename] = []

    def settle(self) -> None:
        """Take what is there as durable."""
        self.close()
        self.sync_all()

    def close(self) -> None:
        """Let go of every file."""
        for node in self._nodes.values():
            os.close(node.descriptor)
        self._nodes.clear()
        self._renames.clear()

    def node(self, path: Path) -> File | Folder:
        """Return what is known of a file or folder that is there."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        number = os.fstat(descriptor).st_ino
        if number in self._nodes:
            os.close(descriptor)
        else:
            # The descriptor keeps the bytes of a file that has no name any more, and its number.
            self._nodes[number] = (Folder if path.is_dir() else File)(descriptor, number)
        return self._nodes[number]

    def _folder(self, path: Path) -> Folder:
        found = self.node(path)
        assert isinstance(found, Folder)
        return found

    def files(self) -> list[File]:
        """Return every file that was met, also those without a name."""
        return [one for one in self._nodes.values() if isinstance(one, File)]

    def renamed(self, old: Path, new: Path) -> None:
        """Note a rename that is about to be done."""
        if new.exists():
            self.node(new)
        source, target = self._folder(old.parent), self._folder(new.parent)
        self._renames.append(Rename(self.node(old), source, old.name, target, new.name))

    def below(self, path: Path | None = None) -> Iterator[File | Folder]:
        """Yield all that is there, the root first."""
        path = path or self._root
        yield self.node(path)
        if path.is_dir():
            for one in sorted(path.iterdir()):
                yield from self.below(one)

    def sync_all(self) -> None:
        """Make everything durable."""
        for node in list(self.below()):
            self.sync(node)

    def sync(self, node: File | Folder) -> None:
        """Make a file's bytes, or a folder's names, durable."""
        if isinstance(node, File):
            node.sync()
            return
        for one in [one for one in self._renames if node in (one.source, one.target)]:
            one.complete()
            self._renames.remove(one)
        node.durable = self._entries(node)

    def _entries(self, folder: Folder) -> dict[str, File | Folder]:
        if not os.fstat(folder.descriptor).st_nlink:
            return {}
        path = Path(f"/proc/self/fd/{folder.descriptor}")
        return {one.name: self.node(one) for one in path.iterdir()}

    def crash(self, dice: random.Random) -> None:
        """Put in place what a loss of power leaves; it is durable then."""
        decided: dict[tuple[Folder, str], bool] = {}
        for one in self._renames:
            places = (one.source, one.old_name), (one.target, one.new_name)
            decided.update(dict.fromkeys(places, dice.random() < 0.5))
        tree = self._kept(self._folder(self._root), decided, dice)
        for path in self._root.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        _build(self._root, tree)
        self.settle()

    def _kept(
        self, folder: Folder, decided: dict[tuple[Folder, str], bool], dice: random.Random
    ) -> dict[str, Any]:
        now = self._entries(folder)
        kept: dict[str, Any] = {}
        for name in sorted({*now, *folder.durable}):
            is_new = decided.get((folder, name), dice.random() < 0.5)
            node = (now if is_new else folder.durable).get(name)
            if isinstance(node, Folder):
                kept[name] = self._kept(node, decided, dice)
            elif node is not None:
                kept[name] = node.surviving(dice)
        return kept


def _build(folder: Path, tree: dict[str, Any]) -> None:
    for name, found in tree.items():
        if isinstance(found, dict):
            (folder / name).mkdir()
            _build(folder / name, found)
        else:
            (folder / name).write_bytes(found)
