"""The ground station: a Mosaico server for bench, depot laptop and tests, in one directory.

    DIRECTORY/catalogue.sqlite   sequences, sessions, topics, chunks, notes, keys
    DIRECTORY/rows/…             Parquet files

What was answered with OK is durable. The station may be killed at any instant: finalized topics
stay whole, interrupted ones stay Uploading until a client deletes them.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from recorder.errors import ConfigError
from recorder.ground.actions import Actions
from recorder.ground.catalogue import Catalogue
from recorder.ground.clusters import Clusters
from recorder.ground.database import Database
from recorder.ground.flight import FlightService
from recorder.ground.keys import Keys
from recorder.ground.query import Query
from recorder.ground.rows import RowSearch
from recorder.ground.store import Store
from recorder.ground.topics import Topics
from recorder.service import hold
from recorder.upload.memory import keep_small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEFAULT_PORT = 6726
STOP_LIMIT_S = 2.0


class GroundStation:
    """A running station; a context manager.

    Args:
        directory: made if it is missing; one station at a time.
        host: address to listen on.
        port: 0 takes a free one, see `port`.
        check_keys: ask every call for an API key with the right permission.
        tls: PEM certificate and private key, None for plain connections.

    Raises:
        ConfigError: the address cannot be listened on, or the directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        check_keys: bool = False,
        tls: tuple[bytes, bytes] | None = None,
    ) -> None:
        with ExitStack() as opened:
            rows = Store(directory / "rows")
            opened.callback(rows.close)
            opened.enter_context(_locked(directory))
            self._database = Database(directory / "catalogue.sqlite")
            opened.callback(self._database.close)
            self.catalogue = Catalogue(self._database)
            self.topics = Topics(self._database)
            self.keys = Keys(self._database)
            rows.remove_unknown(self.topics.folders())
            scheme = "grpc" if tls is None else "grpc+tls"
            with _listening(host, port):
                self._flight = FlightService(
                    f"{scheme}://{host}:{port}",
                    certificates=[] if tls is None else [tls],
                    catalogue=self.catalogue,
                    topics=self.topics,
                    rows=rows,
                    actions=self._actions(rows),
                    keys=self.keys if check_keys else None,
                )
            self._opened = opened.pop_all()
        self.url = f"{scheme}://{host}:{self.port}"

    def _actions(self, rows: Store) -> Actions:
        search = RowSearch(self.topics, rows)
        return Actions(
            catalogue=self.catalogue,
            topics=self.topics,
            store=rows,
            query=Query(self._database, search),
            clusters=Clusters(self.topics, search),
        )

    @property
    def port(self) -> int:
        """The port that the station listens on."""
        return int(self._flight.port)

    @property
    def open_uploads(self) -> int:
        """Streams that are coming in just now."""
        return self._flight.beat.streams

    def serve(self, stop: threading.Event) -> bool:
        """Serve until told to stop, then `close`."""
        stop.wait()
        return self.close()

    def close(self) -> bool:
        """Stop serving; streams that are still fed break off and their topics stay Uploading.

        Returns:
            False if a client that sends nothing still held a call after `STOP_LIMIT_S`; Arrow gives
            no way to end such a call but the end of the process, which loses nothing.
        """
        self._flight.beat.stop()
        # Arrow's shutdown waits for open calls without a limit; so the limit is put around it.
        ending = threading.Thread(target=self._flight.shutdown, name="ground-end", daemon=True)
        ending.start()
        ending.join(STOP_LIMIT_S)
        if ending.is_alive():
            return False
        self._opened.close()
        return True

    def __enter__(self) -> GroundStation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run(
    directory: Path,
    host: str,
    port: int,
    stop: threading.Event,
    *,
    check_keys: bool = False,
    tls: tuple[bytes, bytes] | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until `stop` is set; the entry of the station's process.

    If a client holds a silent stream, this ends the whole process at the end, with code 0.

    Args:
        directory: as for `GroundStation`, like the other arguments.
        host: address to listen on.
        port: 0 takes a free one.
        stop: ends it.
        check_keys: ask for API keys.
        tls: certificate and key.
        ready: called with the station's URL as soon as it answers.
    """
    # Else much of what fifty uploads once needed stays with the allocators.
    keep_small()
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow is loaded already and took another
    station = GroundStation(directory, host, port, check_keys=check_keys, tls=tls)
    if ready is not None:
        ready(station.url)
    if not station.serve(stop):
        os._exit(0)  # the interpreter's own end would wait for that client for ever


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep a second station out of the directory."""
    lock = hold(directory / "lock")
    if lock is None:
        raise ConfigError(f"{directory}: another station is using it")
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _listening(host: str, port: int) -> Iterator[None]:
    """Tell an address that cannot be listened on.

    gRPC lets two servers share a port and splits their clients at random; so the port is tried
    first by the rules of everybody else.
    """
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
        yield
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{host}:{port}: cannot listen: {error}") from error
