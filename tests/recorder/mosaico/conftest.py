"""A link between client and station that can be disturbed, and what the server holds in words."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from recorder.ground.store import Store
from recorder.mosaico import Message, String
from tests.known import known
from tests.recorder.mosaico.link import Link


@dataclass(frozen=True)
class Held:
    """What the server holds of a sequence: per topic its rows and whether it is finalized."""

    topics: dict[str, tuple[int, bool]]
    sessions_locked: list[bool]
    notes: int


class Asked:
    """Few words for rows and for questions to a server."""

    @staticmethod
    def note(time_ns):
        return Message(timestamp_ns=time_ns, data=String(data=f"note {time_ns}"))

    @staticmethod
    def held(client, sequence="drive"):
        """What the server holds of a sequence; None if it does not know it."""
        found = client.describe_sequence(sequence)
        if found is None:
            return None
        return Held(
            {one.locator.partition("/")[2]: (one.row_count, one.locked) for one in found.topics},
            [one.locked for one in found.sessions],
            len(client.notifications(sequence)),
        )

    @staticmethod
    def rows_of(client, locator):
        return known(client.describe_topic(locator)).row_count


@pytest.fixture
def asked():
    return Asked()


@pytest.fixture
def link(station):
    carrying = Link(station.port)
    yield carrying
    carrying.close()


@pytest.fixture
def gate(monkeypatch):
    """Until it is set, the station stores no picture: a server that lives and does not move."""
    opened = threading.Event()
    whole_write = Store.write

    def write(store, folder, number, batch):
        if "format" in batch.schema.names:
            opened.wait(60)
        return whole_write(store, folder, number, batch)

    monkeypatch.setattr(Store, "write", write)
    yield opened
    opened.set()
