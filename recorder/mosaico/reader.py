"""Reading a topic back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recorder.errors import RemoteRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.mosaico.server import Server


def rows(
    client: Server, locator: str, start_ns: int | None = None, end_ns: int | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of a topic as nested dictionaries, by rising `timestamp_ns`.

    Args:
        client: a connection with the read permission.
        locator: ``sequence/topic/path``.
        start_ns: first time, inclusive, UTC ns.
        end_ns: last time, exclusive, UTC ns.
    """
    for batch in client.read(locator, start_ns, end_ns):
        yield from batch.to_pylist()


def table(client: Server, locator: str) -> pa.Table:
    """A whole topic as one `pyarrow.Table`, by rising `timestamp_ns`; all of it in memory.

    Raises:
        RemoteRefusedError: there is no such topic, or it holds no batch.
    """
    batches = list(client.read(locator))
    if not batches:
        raise RemoteRefusedError(f"read {locator}: the topic holds no rows")
    return pa.Table.from_batches(batches)
