"""Few words for a station and its client, and a station in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager

import pyarrow as pa
import pytest

from recorder.mosaico import ontology
from tests.known import known

SCHEMA = ontology.schema("String")
STATION = """
import signal, sys, threading
from pathlib import Path
from recorder.ground import run
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
run(Path(sys.argv[1]), "127.0.0.1", 0, stop, ready=lambda url: print(url, flush=True))
"""


class Bench:
    """What the tests of this folder do to a station, in few words."""

    schema = SCHEMA

    @staticmethod
    def batch(*times_ns):
        return pa.RecordBatch.from_pylist(
            [{"timestamp_ns": time_ns, "data": f"row {time_ns}"} for time_ns in times_ns], SCHEMA
        )

    @staticmethod
    def topic(client, session, locator):
        return client.create_topic(
            session.uuid,
            locator,
            ontology_tag="String",
            serialization_format="default",
            metadata={},
        )

    def drive(self, client, locator="drive/notes"):
        """A new sequence, session and topic."""
        sequence = locator.partition("/")[0]
        client.create_sequence(sequence, {})
        session = client.create_session(sequence)
        return session, self.topic(client, session, locator)

    @contextmanager
    def station_process(self, directory):
        """Yields the process and its URL; kills it at the end if nobody did."""
        process = subprocess.Popen(
            [sys.executable, "-c", STATION, str(directory)], stdout=subprocess.PIPE, text=True
        )
        said = known(process.stdout)
        try:
            yield process, said.readline().strip()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            said.close()


@pytest.fixture
def bench():
    return Bench()
