"""What the demo refuses before it starts anything, each in one sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from drivers.sim.world import World
from recorder.demo import demo, stage
from recorder.demo.demo import _read_back
from recorder.errors import ConfigError, RecorderError

HEAD = (
    "date,time,millis,ax,ay,az,rollrate,pitchrate,yawrate,speed,course,latitude,longitude,"
    "altitude,pdop,hdop,vdop,fix,satellites_used"
)
ROW = "260314,12382{n}000,{n}000.0,0,0,9.8,0,0,0,1.0,2.0,51.0,13.0,100.0,2.0,1.0,1.0,3,7"
ROWS = "\n".join([HEAD, *(ROW.format(n=n) for n in range(4))]) + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "too few rows"),
        (HEAD.encode(), "too few rows"),
        (b"a,b\n1,2\n", "no column 'millis'"),
        (bytes(range(256)), "cannot be played"),
        (ROWS.replace("13.0", "thirteen", 1).encode(), "thirteen"),
        (ROWS[:-60].encode(), "cannot be played"),
    ],
    ids=["empty", "only a head", "another head", "binary", "a bad number", "cut off"],
)
def test_a_drive_that_is_none_is_refused_in_one_line(
    tmp_path: Path, text: bytes, said: str
) -> None:
    file = tmp_path / "drive.csv"
    file.write_text(ROWS)
    assert stage.choose_source(None, file)["kind"] == "drive"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match=said) as refused:
        stage.choose_source(None, file)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("text", [b"", bytes(range(256)), b"no receiver\n"])
def test_a_log_without_a_sentence_is_refused(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "gps.log"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match="no sentence of NMEA"):
        stage.choose_source(file, None)


def test_a_second_demo_is_refused_while_the_first_one_runs(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with stage.prepared(folder):
        (folder / "kept").touch()
        with pytest.raises(ConfigError, match="another demo runs in it"), stage.prepared(folder):
            pass
        assert (folder / "kept").exists()
    with stage.prepared(folder):
        assert [one.name for one in folder.iterdir()] == [stage.MARK]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").touch()
    with pytest.raises(ConfigError, match="not from an earlier demo"), stage.prepared(tmp_path):
        pass
    assert [one.name for one in tmp_path.iterdir()] == ["thesis"]


def test_a_path_that_no_socket_can_have_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    with pytest.raises(ConfigError, match="too long for the sockets"), stage.prepared(folder):
        pass
    assert not folder.exists()


def test_models_that_do_not_start_are_told_with_their_last_words(tmp_path: Path) -> None:
    world = World(tmp_path, {"source": {"kind": "plane"}})
    with pytest.raises(RecorderError, match="allowed are drive, log"), stage.playing(world):
        pass


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 0.0, 1e6])
def test_a_time_that_nobody_can_record_is_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(ConfigError, match="must be 1 to 86400"):
        demo(seconds, tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_a_kill_after_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--kill spool@9s: the recording is over after 5 s"):
        demo(5, tmp_path / "demo", kills=["spool@9s", "lane:imu@1s"])


def test_a_result_that_has_no_folder_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        demo(5, tmp_path / "demo", json_file=tmp_path / "nowhere" / "result.json")
    assert [one.name for one in (tmp_path / "demo").iterdir()] == [stage.MARK]


def test_a_read_back_that_fails_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match="the read-back failed: ") as failed:
        _read_back("grpc://127.0.0.1:1", "nobody", tmp_path / "readback.jsonl")
    assert len(str(failed.value).splitlines()) == 1


def test_a_kill_waits_for_its_process_and_one_that_never_could_be_is_a_finding(
    tmp_path: Path,
) -> None:
    result = tmp_path / "result.json"
    kills = ["lane:imu@0.5s", "lane:imu@0.5s", "lane:imu@2.9s", "lane:imu@2.9s"]
    assert demo(3, tmp_path / "demo", kills=kills, json_file=result) == 1
    findings = json.loads(result.read_text())["findings"]
    assert [one for one in findings if "never killed" in one] == [
        "lane:imu@2.9s: it was never killed, since it did not run"
    ]
