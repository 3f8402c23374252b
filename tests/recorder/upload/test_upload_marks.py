"""What a mark does to the order of the upload, and where it can be read afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recorder.clock import boot_ns
from recorder.export import export_session
from recorder.mosaico import MosaicoClient
from recorder.service import Stop
from recorder.uploader import Uploader
from tests.recorder.upload.made import Drive


def topics(url: str) -> dict[str, int | None]:
    with MosaicoClient.connect_url(url) as client:
        found = [client.describe_sequence(name) for name in client.sequences()]
        every = [topic for one in found if one for topic in one.topics]
    return {one.locator.partition("/")[2]: one.row_count for one in every}


def mark(drive: Drive, seconds_ago: float, after_s: float) -> dict[str, Any]:
    at_ns = boot_ns() - round(seconds_ago * 1e9)
    facts = {"boot_ns": at_ns, "label": "bump", "cause": "operator", "before_s": 1.0}
    facts["after_s"] = after_s
    drive.recording.note({"entry": "mark", **facts})
    return facts


def live(drive: Drive, url: str) -> Uploader:
    drive.recording.close()
    drive.begin(10)
    drive.tell_time()
    drive.imu(50)
    drive.beat()
    return Uploader(drive.config(url, mode="live"), Stop())


def drain(uploader: Uploader) -> None:
    while uploader.work():
        pass


def test_a_window_that_is_over_is_sent_before_its_part_is_full(drive: Any, station: Any) -> None:
    uploader = live(drive, station.url)
    try:
        drain(uploader)
        assert "imu" not in "".join(topics(station.url))  # a part may span an hour
        mark(drive, 5, after_s=60)
        drain(uploader)
        assert "imu" not in "".join(topics(station.url))  # nor is the window over
        mark(drive, 5, after_s=1)
        drain(uploader)
        assert topics(station.url)["imu/p000000"] == 500
    finally:
        uploader.close()


def test_a_session_with_a_mark_goes_before_an_older_one(drive: Any, station: Any) -> None:
    order = []
    for is_marked in (False, True, False):
        drive.tell_time()
        drive.imu(5)
        if is_marked:
            mark(drive, 0, after_s=1)
        drive.end()
        order.append(drive.id)
        drive.begin()
    drive.end()
    uploader = Uploader(drive.config(station.url), Stop())
    try:
        drain(uploader)
        done = [one for one in uploader.backlog.done if one in order]
        assert done == [order[1], order[0], order[2]]
    finally:
        uploader.close()


def test_a_mark_is_a_row_on_the_server_and_stands_in_an_export(
    tmp_path: Path, drive: Any, station: Any
) -> None:
    drive.tell_time()
    drive.imu(5)
    facts = mark(drive, 0, after_s=1)
    drive.end()
    uploader = Uploader(drive.config(station.url), Stop())
    try:
        drain(uploader)
    finally:
        uploader.close()
    with MosaicoClient.connect_url(station.url) as client:
        (name,) = client.sequences()
        rows = [one for each in client.read(f"{name}/recorder/marks") for one in each.to_pylist()]
    (row,) = rows
    assert json.loads(row["data"]) == facts
    export_session(drive.spool, drive.id, tmp_path / "out", "csv")
    (told,) = json.loads((tmp_path / "out" / "session.json").read_text())["marks"]
    assert {**told, "utc_ns": 0} == {**facts, "utc_ns": 0}
    assert abs(told["utc_ns"] - row["timestamp_ns"]) < 1000
