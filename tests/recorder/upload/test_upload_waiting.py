"""A recording whose devices are still being opened, as a listener at the server sees it."""

from __future__ import annotations

from typing import Any

from recorder.ground.observe import Address, Observer
from recorder.service import Stop
from recorder.uploader import Uploader


def test_a_session_that_waits_for_its_first_sample_is_described_on_the_server(
    drive: Any, station: Any
) -> None:
    drive.recording.close()
    drive.begin(70)  # announced so long ago, and no device has given anything yet
    session = drive.recording.session
    session.dependencies = {"calibration": ["sha256:" + "0" * 64]}
    drive.tell_time()
    drive.beat()
    uploader = Uploader(drive.config(station.url, mode="live"), Stop())
    try:
        while uploader.work():
            pass
        with Observer(Address(station.url)) as observer:
            (seen,) = observer.recordings()
            (name,) = observer.sequences()
            facts = observer.client.describe_sequence(name)
    finally:
        uploader.close()
    assert (seen.id, seen.life, seen.record["state"]) == (drive.id, "live", "waiting")
    assert facts is not None
    recording = facts.user_metadata["recording"]
    assert recording["dependencies"] == session.dependencies
    assert [one["name"] for one in recording["lanes"]] == ["gps", "imu", "camera"]
