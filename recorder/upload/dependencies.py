"""Dependencies on the server: each content is there once, whatever the number of sessions.

A dependency is a sequence of its own, ``dependency-<type>-<first 12 digits of its digest>``, with
the metadata ``dependency``: `type`, `id`, `size_bytes`, `encoding`. Its one topic, ``content``
(``content-r1`` … if one before broke), holds the bytes as base64 in rows of the ontology String,
which every reader of Mosaico can decode; `timestamp_ns` is the row's number from 1. A topic counts
if its bytes have the digest: so whatever is found there is read and compared, and sent only if it
is not whole. What a server holds is remembered in ``upload/.dependencies``.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import time
from typing import TYPE_CHECKING

import pyarrow as pa

from recorder.errors import DamagedError, RecorderError, RemoteRefusedError
from recorder.mosaico import ontology
from recorder.spool.dependencies import Dependencies, Dependency, content_id
from recorder.spool.journal import Journal
from recorder.upload.traffic import CapReachedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recorder.config import Config
    from recorder.mosaico import MosaicoClient
    from recorder.upload.traffic import Traffic

log = logging.getLogger(__name__)

#: What was refused is tried again so often: a person may have given another key.
REFUSED_PAUSE_S = 600.0
_ONTOLOGY = "String"
_PREFIX = "dependency-"
_DIGITS = 12
#: Bytes of a row, a multiple of 3 so that base64 needs no padding but in the last; rows of a batch.
_ROW_BYTES, _BATCH_ROWS = 45_000, 16


class DependencyUpload:
    """Brings what the store holds to the configured server.

    Args:
        config: the resolved configuration.
        traffic: the month's account.
        sending: called before each batch with its size in bytes, as for a session.
        asks_again: ask the server also about what it is known to have held: it may have lost that.
    """

    def __init__(
        self,
        config: Config,
        traffic: Traffic,
        sending: Callable[[int, bool], None],
        *,
        asks_again: bool,
    ) -> None:
        self._store = Dependencies(config.dependencies_dir)
        self._path = config.upload_dir / ".dependencies"
        self._server = config.upload.server
        self._traffic = traffic
        self._sending = sending
        self._asks_again = asks_again
        self._journal: Journal | None = None
        self._held: set[tuple[str, str]] = set()
        self._refused: dict[tuple[str, str], float] = {}

    def step(self, connect: Callable[[], MosaicoClient]) -> bool:
        """Bring the next one to the server, if one is not there yet.

        Args:
            connect: gives the connection; called only if there is one.

        Returns:
            Whether anything was done. What the server refuses is logged, and sessions go on.

        Raises:
            RemoteAwayError: the server is not there.
            OSError: the disk failed.
        """
        due = next(self._due(), None)
        if due is None:
            return False
        key = due.kind, due.id
        try:
            _, content = self._store.get(due.kind, due.id)
            self._traffic.check(due.size_bytes * 4 // 3, over_cap=False)
            bring(connect(), due, content, lambda size_bytes: self._sending(size_bytes, False))
        except CapReachedError:
            return False
        except (RemoteRefusedError, DamagedError) as error:
            log.warning("%s %s is not uploaded: %s", *key, error)
            self._refused[key] = time.monotonic() + REFUSED_PAUSE_S
        else:
            self._remember(due)
        return True

    def _due(self) -> Iterator[Dependency]:
        there = self._store.all()
        if there and self._journal is None:
            self._journal = Journal(self._path)
            known = [] if self._asks_again else self._journal.entries
            mine = [one for one in known if one.get("server") == self._server]
            self._held = {(one["type"], one["id"]) for one in mine}
        now_s = time.monotonic()
        for one in there:
            key = one.kind, one.id
            if key not in self._held and self._refused.get(key, 0.0) <= now_s:
                yield one

    def _remember(self, one: Dependency) -> None:
        entry = {"entry": "held", "server": self._server, "type": one.kind, "id": one.id}
        self._held.add((one.kind, one.id))
        try:
            if self._journal is not None:
                self._journal.record(entry)
        except OSError:
            self.close()  # read anew: the server is asked once more about what is not in it
            raise

    def close(self) -> None:
        """Close the journal; may be called twice."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def bring(
    client: MosaicoClient, one: Dependency, content: bytes, sending: Callable[[int], None]
) -> bool:
    """Make sure that the server holds a dependency; return whether its bytes had to be sent.

    Args:
        client: the connection.
        one: which.
        content: its bytes.
        sending: called before each batch with its size in bytes.

    Raises:
        RemoteAwayError: the server is not there; call again.
        RemoteRefusedError: it does not take it.
    """
    name = _name(one)
    if client.describe_sequence(name) is None:
        facts = {"type": one.kind, "id": one.id, "size_bytes": one.size_bytes}
        with contextlib.suppress(RemoteRefusedError):  # another recorder made it just now
            client.create_sequence(name, {"dependency": {**facts, "encoding": "base64"}})
    if _told(client, name) != one:
        raise RemoteRefusedError(f"{name}: the server has another sequence of this name")
    if _find(client, name, one.id) is not None:
        return False
    _send(client, name, content, sending)
    if _find(client, name, one.id) is None:
        raise RemoteRefusedError(f"{name}: what the server holds is not what was sent")
    return True


def on_server(client: MosaicoClient) -> list[Dependency]:
    """Return every dependency that a server holds, by type and id; contents are not read."""
    names = [name for name in client.sequences() if name.startswith(_PREFIX)]
    found = [one for name in names if (one := _told(client, name)) is not None]
    return sorted(found, key=lambda one: (one.kind, one.id))


def fetch(client: MosaicoClient, kind: str, start: str) -> tuple[Dependency, bytes]:
    """Return a dependency of a server and its content, verified.

    Args:
        client: the connection.
        kind: its type.
        start: its id, or the first characters of its digest, enough to tell it.

    Raises:
        RecorderError: there is none, several begin so, or no topic of it is whole.
        RemoteError: the server cannot be asked, or refuses.
    """
    digits = start.removeprefix("sha256:")
    there = [one for one in on_server(client) if one.kind == kind and one.id[7:].startswith(digits)]
    if len(there) != 1:
        what = "several dependencies begin" if there else "no dependency begins"
        raise RecorderError(f"on the server, {what} with {kind}:{start}")
    content = _find(client, _name(there[0]), there[0].id)
    if content is None:
        raise RecorderError(f"{_name(there[0])}: the server holds no whole content of it")
    return there[0], content


def _name(one: Dependency) -> str:
    return f"{_PREFIX}{one.kind}-{one.id[7 : 7 + _DIGITS]}"


def _told(client: MosaicoClient, name: str) -> Dependency | None:
    """Return what a sequence says that it holds, or None if it is no dependency's."""
    found = client.describe_sequence(name)
    facts = found.user_metadata.get("dependency") if found else None
    if not isinstance(facts, dict):
        return None
    try:
        return Dependency(str(facts["type"]), str(facts["id"]), int(facts["size_bytes"]))
    except (KeyError, TypeError, ValueError):
        return None


def _find(client: MosaicoClient, name: str, wanted: str) -> bytes | None:
    """Return the content of the first topic whose bytes have the digest, or None."""
    found = client.describe_sequence(name)
    for topic in found.topics if found else ():
        if topic.locked:
            content = _read(client, topic.locator)
            if content_id(content) == wanted:
                return content
    return None


def _read(client: MosaicoClient, locator: str) -> bytes:
    texts: list[str] = []
    for batch in client.read(locator):
        texts += batch.column("data").to_pylist()
    try:
        return b"".join(base64.b64decode(one, validate=True) for one in texts)
    except binascii.Error:
        return b""


def _send(client: MosaicoClient, name: str, content: bytes, sending: Callable[[int], None]) -> None:
    found = client.describe_sequence(name)
    spent = {one.locator for one in found.topics} if found else set()
    names = ["content", *(f"content-r{number}" for number in range(1, len(spent) + 1))]
    topic = next(one for one in names if f"{name}/{one}" not in spent)
    session = client.create_session(name)
    locator = f"{name}/{topic}"
    uuid = client.create_topic(
        session.uuid,
        locator,
        ontology_tag=_ONTOLOGY,
        serialization_format=ontology.serialization_format(_ONTOLOGY),
        metadata={},
    )

    def told() -> Iterator[pa.RecordBatch]:
        for batch in _batches(content):
            sending(pa.ipc.get_record_batch_size(batch))
            yield batch

    client.put(locator, uuid, ontology.schema(_ONTOLOGY), told())
    client.finalize_session(session.uuid)


def _batches(content: bytes) -> Iterator[pa.RecordBatch]:
    starts = range(0, max(len(content), 1), _ROW_BYTES)
    texts = [base64.b64encode(content[at : at + _ROW_BYTES]).decode() for at in starts]
    for at in range(0, len(texts), _BATCH_ROWS):
        some = texts[at : at + _BATCH_ROWS]
        times = list(range(at + 1, at + 1 + len(some)))
        columns = {"timestamp_ns": times, "data": some}
        yield pa.RecordBatch.from_pydict(columns, ontology.schema(_ONTOLOGY))
