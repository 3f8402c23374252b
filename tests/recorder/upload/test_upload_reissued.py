"""A vehicle that was thought dead comes back: what it holds is issued anew."""

from __future__ import annotations

from typing import Any

import pytest

from recorder.audit import audit_server, audit_spool
from recorder.cli import lineage
from recorder.ground.observe import Address, Observer
from recorder.ground.watch import Watch
from recorder.mosaico import MosaicoClient
from recorder.service import Stop
from recorder.spool.journal import Journal
from recorder.uploader import Asked, Uploader, upload_once
from tests.recorder.upload.made import Drive, differences, server_rows


def abandon(url: str, recording_id: str) -> None:
    with Observer(Address(url)) as observer:
        Watch(observer).abandon(recording_id)


def seen(url: str) -> dict[str, Any]:
    """Return what is seen of each recording, by its id."""
    with Observer(Address(url)) as observer:
        return {one.id: one for one in observer.recordings()}


def drain(uploader: Uploader) -> None:
    while uploader.work():
        pass


def live(drive: Drive, url: str) -> Uploader:
    """Record and send the first half of a drive."""
    drive.recording.close()
    drive.begin(70)
    drive.tell_time()
    drive.imu(50)
    drive.beat()
    uploader = Uploader(drive.config(url, mode="live", part_s=1.0), Stop())
    drain(uploader)
    return uploader


def test_what_comes_after_it_was_abandoned_is_another_recording_that_names_it(
    drive: Drive, station: Any
) -> None:
    uploader = live(drive, station.url)
    try:
        abandon(station.url, drive.id)
        drive.imu(50)
        drive.end()
        drain(uploader)
    finally:
        uploader.close()
    found = seen(station.url)
    old = found.pop(drive.id)
    assert old.life == "abandoned"
    ((new_id, new),) = found.items()
    assert (new.life, new.record["state"], new.record["sources"]) == ("ended", "closed", [drive.id])
    assert new.record["lanes"][1]["delivered"] == 1000
    rows = server_rows(station.url, new.sequence, "imu")
    assert differences(rows, drive.expected("imu")) == []
    with MosaicoClient.connect_url(station.url) as client:
        assert audit_server(client, new_id).all_differences == []
    assert audit_spool(drive.spool.directory, drive.id).all_differences == []
    find = lineage.finder([("server", lambda: [one.record for one in seen(station.url).values()])])
    tree = lineage.walk(new_id, find)
    assert [one.id for one in tree.sources] == [drive.id]


def test_nothing_more_comes_under_the_old_id(drive: Drive, station: Any) -> None:
    uploader = live(drive, station.url)
    try:
        abandon(station.url, drive.id)
        before = topics(station.url)
        for _ in range(3):  # it is still recorded, and waits
            drive.imu(50)
            drive.beat()
            drain(uploader)
        assert topics(station.url) == before
        drive.end()
        drain(uploader)
    finally:
        uploader.close()
    after = topics(station.url)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1


def topics(url: str) -> dict[str, dict[str, int | None]]:
    with MosaicoClient.connect_url(url) as client:
        told = {name: client.describe_sequence(name) for name in client.sequences()}
    return {
        name: {each.locator: each.row_count for each in one.topics}
        for name, one in told.items()
        if one and not name.startswith("dependency-")
    }


def test_one_that_dies_while_it_issues_anew_issues_it_once(drive: Drive, station: Any) -> None:
    live(drive, station.url).close()
    abandon(station.url, drive.id)
    drive.end()
    path = drive.folder / "data" / "upload" / drive.id
    # Killed between the old journal's way and the new one's first line.
    (path.parent / "elsewhere").mkdir()
    path.rename(path.parent / "elsewhere" / f"{drive.id}-0")
    Journal(path).close()
    assert upload_once(drive.config(station.url)).done == [drive.id]
    found = seen(station.url)
    assert len(found) == 2
    found.pop(drive.id)
    (new,) = found.values()
    assert new.record["sources"] == [drive.id]
    assert upload_once(drive.config(station.url)).done == []


def test_what_the_server_has_lost_since_is_sent_there_under_the_same_id(
    drive: Drive, station: Any
) -> None:
    live(drive, station.url).close()
    abandon(station.url, drive.id)
    drive.imu(50)
    drive.end()
    config = drive.config(station.url)
    assert upload_once(config).done == [drive.id]
    before = seen(station.url)
    (new_id,) = set(before) - {drive.id}
    with MosaicoClient.connect_url(station.url) as client:
        client.delete_sequence(before[new_id].sequence)
    assert upload_once(config, asked=Asked(drive.id, anew=drive.id)).done == [drive.id]
    after = seen(station.url)
    assert {key: one.life for key, one in after.items()} == {drive.id: "abandoned", new_id: "ended"}
    rows = server_rows(station.url, after[new_id].sequence, "imu")
    assert differences(rows, drive.expected("imu")) == []


@pytest.mark.parametrize("is_abandoned", [True, False])
def test_what_was_delivered_and_given_up_before_lies_under_the_old_id(
    is_abandoned: bool, drive: Drive, station: Any
) -> None:
    uploader = live(drive, station.url)
    uploader.close()
    drive.recording.lanes["imu"].seal()
    drive.commit()
    drive.recording.settle()
    (sealed,) = [one for one in drive.spool.entries(drive.id) if one["entry"] == "sealed"]
    stone = {key: sealed[key] for key in ("lane", "file", "rows")}
    drive.recording.bury({"entry": "evicted", **stone, "delivered": True, "leased": False})
    drive.recording.sync()
    (drive.spool.session_dir(drive.id) / "imu" / sealed["file"]).unlink()
    if is_abandoned:
        abandon(station.url, drive.id)
    drive.imu(50)
    drive.end()
    assert upload_once(drive.config(station.url)).done == [drive.id]
    found = seen(station.url)
    new = found[max(found, key=lambda one: one != drive.id)]
    imu = new.record["lanes"][1]
    told = (new.record["state"], imu["delivered"], imu["lost_evicted"])
    assert told == (("truncated", 500, 500) if is_abandoned else ("closed", 1000, 0))
    with MosaicoClient.connect_url(station.url) as client:
        assert audit_server(client, new.id).all_differences == []
