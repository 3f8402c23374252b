"""The foreground runner: what it says of processes that die, and how long it waits for a server."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recorder import config, status
from recorder.runner import RESTART_PAUSES_S, Runner
from recorder.service import Stop
from recorder.spool.journal import Journal
from recorder.spool.spool import Spool
from tests.recorder.building import shelf, wait_until

AWAY = "grpc://127.0.0.1:1"
#: Longer than any test: who waits so long has not understood that nobody is to wait.
DRAIN_S = 300.0


def settings(folder: Path, data: Path | None = None, **upload: Any) -> config.Config:
    lane = config.Lane(name="counter", driver="tests.recorder.counting_device:Counting")
    place = config.Spool(directory=data or folder, run_dir=folder / "run", free_floor_bytes=0)
    chosen: dict[str, Any] = {"mode": "off", "drain_s": DRAIN_S, **upload}
    return config.Config(lanes=[lane], spool=place, upload=config.Upload(**chosen))


@contextmanager
def running(chosen: config.Config) -> Iterator[Runner]:
    runner = Runner(chosen)
    try:
        runner.start()
        yield runner
    finally:
        runner.kill()


def is_recording(folder: Path) -> bool:
    session = (status.read(folder / "run", "spool") or {}).get("session") or {}
    return bool(session.get("duration_ns"))


def test_a_process_that_dies_again_and_again_is_started_ever_more_seldom(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()

    def pauses() -> list[object]:
        told = [one.args for one in caplog.records if "starting it again" in one.msg]
        return [args[2] for args in told if isinstance(args, tuple) and args[0] == "spool"]

    with running(settings(tmp_path, tmp_path / "file")) as runner:

        def has_died_thrice() -> bool:
            runner.poll()
            return len(pauses()) >= 3

        wait_until(has_died_thrice)
    assert pauses()[:3] == list(RESTART_PAUSES_S[:3])
    assert sorted(set(RESTART_PAUSES_S)) == list(RESTART_PAUSES_S)


def test_all_that_ends_well_is_told_as_nothing(tmp_path: Path) -> None:
    with running(settings(tmp_path)) as runner:
        wait_until(lambda: is_recording(tmp_path))
        assert runner.stop() == []


def test_a_process_that_does_not_end_well_is_named(tmp_path: Path) -> None:
    with running(settings(tmp_path)) as runner:
        wait_until(lambda: is_recording(tmp_path))
        pid = runner.pid("lane:counter")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: runner.pid("lane:counter") is None)
        assert runner.stop() == ["lane:counter ended with -9"]


def test_a_process_that_waits_for_its_restart_at_the_end_is_named(tmp_path: Path) -> None:
    with running(settings(tmp_path)) as runner:
        wait_until(lambda: is_recording(tmp_path))
        pid = runner.pid("spool")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: runner.pid("spool") is None)
        runner.poll()
        assert "spool was not running at the end" in runner.stop()
    spool = Spool(tmp_path / "spool")
    (session_id,) = spool.session_ids()
    assert spool.session(session_id).recording == "stopped"  # it was started once more for that


def test_a_second_request_to_end_ends_the_wait_for_a_server(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with running(settings(tmp_path, mode="live", server=AWAY)) as runner:
        wait_until(lambda: is_recording(tmp_path))
        hurry = Stop()
        hurry.set()
        assert runner.stop(hurry) == ["not everything was uploaded in time; it goes on next time"]
    told = [text for text in caplog.messages if "waiting up to" in text]
    assert told == ["waiting up to 300 s for the server; Ctrl-C again to leave it for next time"]


def test_with_nothing_to_send_nobody_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    chosen = settings(tmp_path, mode="live", server=AWAY)
    assert Runner(chosen).stop() == []
    with shelf(tmp_path) as one:
        one.recording.end("shutdown", is_destination=False)
        hurry = Stop()
        hurry.set()
        assert Runner(chosen).stop(hurry) != []
        caplog.clear()
        log = Journal(chosen.upload_dir / one.recording.session.id)
        log.record({"entry": "done", "server": AWAY})
        log.close()
        assert Runner(chosen).stop() == []
    assert caplog.messages == []
