"""The station killed at every step and at random: what was finalized is whole, nothing is half."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from recorder.errors import RemoteAwayError, RemoteError
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient, rows
from tests.known import known

ROOT = Path(__file__).parents[3]
TIMES = [[3, 4], [1, 2]]
ROWS = [1, 2, 3, 4]


def stored(directory: Path) -> dict[str, tuple[bool, list[int]]]:
    """What catalogue and files hold, read without the station: topic to (finalized, times)."""
    found: dict[str, tuple[bool, list[int]]] = {}
    with closing(sqlite3.connect(directory / "catalogue.sqlite")) as db:
        topics = db.execute("SELECT id, locator, folder, completed_at_ns FROM topics").fetchall()
        for row_id, locator, folder, completed in topics:
            times: list[int] = []
            chunks = db.execute(
                "SELECT number, row_count FROM chunks WHERE topic_id = ? ORDER BY number", (row_id,)
            )
            for number, row_count in chunks.fetchall():
                file = directory / "rows" / folder / f"{number:06d}.parquet"
                table = pq.read_table(file)
                assert table.num_rows == row_count
                times += table.column("timestamp_ns").to_pylist()
            found[locator] = (completed is not None, sorted(times))
    return found


@contextmanager
def dying_station(directory: Path, steps: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    module = "tests.recorder.ground.dying_station"
    with subprocess.Popen(
        [sys.executable, "-m", module, str(directory), str(steps)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            yield process, known(process.stdout).readline().strip()
        finally:
            process.kill()


def upload(client: MosaicoClient, bench: Any, said_yes: list[str]) -> None:
    """One sequence, session and topic to the end; notes each step that was answered."""
    client.create_sequence("drive", {})
    said_yes.append("sequence")
    session = client.create_session("drive")
    uuid = bench.topic(client, session, "drive/notes")
    said_yes.append("topic")
    client.put("drive/notes", uuid, bench.schema, [bench.batch(*times) for times in TIMES])
    said_yes.append("put")
    client.finalize_session(session.uuid)
    said_yes.append("session")


def check(directory: Path, bench: Any, said_yes: list[str]) -> None:
    """What was answered is there, what is finalized is whole, and the rest can be repaired."""
    on_disk = stored(directory)
    assert on_disk["before/notes"] == (True, ROWS)
    with GroundStation(directory) as station, MosaicoClient.connect_url(station.url) as client:
        assert [one["timestamp_ns"] for one in rows(client, "before/notes")] == ROWS
        sequence = client.describe_sequence("drive")
        topic = client.describe_topic("drive/notes") if sequence else None
        assert sequence or not said_yes
        assert topic or "topic" not in said_yes
        is_locked = topic is not None and topic.locked
        assert is_locked or "put" not in said_yes
        is_closed = bool(sequence and sequence.sessions and sequence.sessions[0].locked)
        assert is_closed or "session" not in said_yes
        assert is_locked or not is_closed
        if topic and is_locked:
            assert on_disk["drive/notes"] == (True, ROWS)
            assert [one["timestamp_ns"] for one in rows(client, "drive/notes")] == ROWS
        elif topic:
            assert topic.first_ns is None
            client.delete_topic("drive/notes")
        if not is_locked:
            repair(client, bench)


def repair(client: MosaicoClient, bench: Any) -> None:
    if client.describe_sequence("drive") is None:
        client.create_sequence("drive", {})
    session = client.create_session("drive")
    uuid = bench.topic(client, session, "drive/notes")
    client.put("drive/notes", uuid, bench.schema, [bench.batch(*times) for times in TIMES])
    client.finalize_session(session.uuid)
    assert [one["timestamp_ns"] for one in rows(client, "drive/notes")] == ROWS


def test_killed_after_every_single_step_it_keeps_what_is_finalized_and_finalizes_nothing_half(
    tmp_path, bench
):
    seen: list[tuple[str, ...]] = []
    for steps in range(1, 50):
        directory = tmp_path / str(steps)
        with GroundStation(directory) as station, MosaicoClient.connect_url(station.url) as client:
            _, uuid = bench.drive(client, "before/notes")
            client.put("before/notes", uuid, bench.schema, [bench.batch(*times) for times in TIMES])
        said_yes: list[str] = []
        with dying_station(directory, steps) as (process, url):
            try:
                with MosaicoClient.connect_url(url, timeout_s=10) as client:
                    upload(client, bench, said_yes)
            except RemoteError:
                assert process.wait(10) == -9
        check(directory, bench, said_yes)
        seen.append(tuple(said_yes))
        if "session" in said_yes:
            break
    # 3 creations, begin, folder, 2 batches with file, 2 syncs and row, 2 finalizations.
    assert len(seen) == 3 + 1 + 1 + 2 * 4 + 2 + 1
    assert set(seen) == {
        (),
        ("sequence",),
        ("sequence", "topic"),
        ("sequence", "topic", "put"),
        ("sequence", "topic", "put", "session"),
    }


ROUNDS, UPLOADERS, BATCHES = 4, 4, 5


@pytest.mark.parametrize("seed", [7])
def test_killed_at_random_under_many_uploads_it_keeps_every_finalized_topic_whole(
    tmp_path, bench, seed
):
    chance = random.Random(seed)
    said_yes: list[str] = []
    whole = list(range(10 * BATCHES))
    for number in range(ROUNDS):
        with bench.station_process(tmp_path) as (process, url):
            threading.Timer(chance.uniform(0.1, 0.6), process.kill).start()
            with ThreadPoolExecutor(UPLOADERS) as pool:
                names = [f"r{number}-{lane}" for lane in range(UPLOADERS)]
                list(pool.map(lambda name: keep_uploading(bench, url, name, said_yes), names))
            process.wait(10)
        on_disk = stored(tmp_path)
        assert all(times == whole for locked, times in on_disk.values() if locked)
        assert {one for one in said_yes if not on_disk[one][0]} == set()
    assert said_yes
    with GroundStation(tmp_path) as station, MosaicoClient.connect_url(station.url) as client:
        for locator, (locked, times) in stored(tmp_path).items():
            topic = known(client.describe_topic(locator))
            assert (topic.locked, topic.row_count) == (locked, len(times))
        for name in client.sequences():
            client.delete_sequence(name)
        assert list((tmp_path / "rows").iterdir()) == []


def keep_uploading(bench: Any, url: str, name: str, said_yes: list[str]) -> None:
    """One topic after the other until the station is gone."""
    try:
        with MosaicoClient.connect_url(url) as client:
            client.create_sequence(name, {})
            session = client.create_session(name)
            for number in range(10_000):
                locator = f"{name}/t{number}"
                uuid = bench.topic(client, session, locator)
                batches = [bench.batch(*range(n, 10 * BATCHES, BATCHES)) for n in range(BATCHES)]
                client.put(locator, uuid, bench.schema, batches)
                said_yes.append(locator)
    except RemoteAwayError:
        return
