"""Orders to the spool's process, and what the next session takes over from the one before."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.errors import RecorderError
from recorder.spool.dependencies import Dependencies, content_id
from tests.recorder.building import assert_sound, lane_numbers
from tests.recorder.steered import bench


def test_what_was_set_is_journalled_outlives_a_kill_and_goes_over_to_the_next_session(
    tmp_path: Path,
) -> None:
    with bench(tmp_path, details={"crew": 2}) as one:
        one.record()
        one.ask("set", identifier="lap {id8}", details={"route": "loop-7"})
        (said,) = [each for each in one.records() if each.details.get("route")]
        assert said.identifier == f"lap {said.id[:8]}"
        one.die()
        one.record()
        for _ in range(2):
            own = {"box": one.now.details["box"]}
            assert one.now.details == {"crew": 2, "route": "loop-7"} | own
            one.spooler.archive._beat(one.spooler.archive.recording)  # type: ignore[arg-type]  # there is one
            assert one.now.identifier == f"lap {one.now.id[:8]}"
            one.ask("new")
        one.ask("stop")
        one.ask("start")
        assert one.now.details == {"crew": 2} | own
        assert one.now.predecessor == ""


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"identifier": "x" * 256}, "1 to 255"),
        ({"identifier": ""}, "1 to 255"),
        ({"identifier": "{nobody}"}, "only {vehicle}"),
        ({"identifier": "{vehicle:>1000000000000}"}, "only {vehicle}"),
        ({"identifier": "{vehicle.__class__}"}, "only {vehicle}"),
        ({"identifier": "{"}, "identifier"),
        ({"details": [1]}, "an object"),
        ({"details": {"a.b": 1}}, "A-Z a-z"),
        ({"details": {"a--b": 1}}, "without two"),
        ({"details": {"": 1}}, "1 to 255"),
        ({"details": {"a": "x" * 256}}, "0 to 255"),
        ({"details": {"a": "red\x1b[31m"}}, "control"),
        ({"details": {"a": 2**63}}, "64 bits"),
        ({"identifier": "lap\udcff"}, "UTF-8"),
        ({"details": {"a": [1]}}, "a text, a number"),
        ({"details": {"a": float("nan")}}, "a text, a number"),
    ],
)
def test_what_no_server_or_reader_could_take_is_not_set(
    tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    with bench(tmp_path) as one:
        before = one.now.to_dict()
        with pytest.raises(RecorderError, match=said):
            one.ask("set", **asked)
        after = one.now.to_dict()
        assert {**after, "identifier": ""} == {**before, "identifier": ""}
        assert one.entries("command") == []


@settings(max_examples=40)
@given(
    steps=st.lists(
        st.one_of(st.sampled_from(["new", "commit", "die"]), st.integers(1, 40)),
        min_size=1,
        max_size=25,
    )
)
def test_sessions_that_follow_each_other_lose_and_double_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | int]
) -> None:
    with bench(tmp_path_factory.mktemp("gapless")) as one:
        put = 0
        for step in steps:
            if isinstance(step, int):
                put += step if one.producer.put(step) else 0
            elif step == "new":
                one.ask("new")
            elif step == "commit":
                one.spooler.commit()
            else:
                one.die()
        one.spooler.commit()
        one.ask("stop")
        assert lane_numbers(one.config.spool_dir, "imu") == list(range(put))
        found = one.records()
        assert sum(each.lanes[0].stored for each in found) == put
        assert [each.predecessor for each in found] == ["", *(each.id for each in found[:-1])]
        assert all(each.lanes[0].imbalances() == [] for each in found)
        assert_sound(one.config.spool_dir)


def test_a_session_that_is_large_enough_is_followed_by_another(tmp_path: Path) -> None:
    with bench(tmp_path, roll_over_bytes=20_000) as one:
        for _ in range(30):
            one.record(100)
        one.die()
        for _ in range(30):
            one.record(100)
        one.ask("stop")
        found = one.records()
        assert lane_numbers(one.config.spool_dir, "imu") == list(range(6000))
        for each in found[:-1]:
            assert 16 * each.lanes[0].stored >= 20_000 - 30 * 120 - 5000
            assert each.end_reason == "roll_over"
        assert 4 <= len(found) <= 7
        assert [each.predecessor for each in found] == ["", *(each.id for each in found[:-1])]


def test_a_process_that_dies_between_two_sessions_still_joins_them(tmp_path: Path) -> None:
    with bench(tmp_path) as one:
        one.record()
        one.ask("set", details={"route": "loop-7"})
        ended = one.now.id
        one.spooler.archive.end("roll_over")
        one.die()
        one.record()
        assert (one.now.predecessor, one.now.details["route"]) == (ended, "loop-7")
        assert lane_numbers(one.config.spool_dir, "imu") == list(range(20))


def test_a_mark_is_journalled_with_its_cause_and_its_window_is_kept(tmp_path: Path) -> None:
    with bench(tmp_path) as one:
        one.record()
        told = one.ask("mark", label="bump", cause="button", before_s=5, after_s=7)
        assert told["unpinned"] == ""
        (mark,) = one.entries("mark")
        assert (mark["label"], mark["cause"]) == ("bump", "button")
        (pin,) = one.entries("pin")
        start = one.now.start_boot_ns or 0
        assert pin["from_boot_ns"] == start  # five seconds ago nothing was recorded
        assert abs(pin["to_boot_ns"] - (mark["boot_ns"] + 7_000_000_000)) < 1000


def test_a_window_over_the_seam_of_two_sessions_is_kept_in_both(tmp_path: Path) -> None:
    with bench(tmp_path) as one:
        one.record()
        first = one.now.id
        one.ask("new")
        one.record()
        mark = one.ask("mark", before_s=30, after_s=60)
        second = one.now.id
        assert [each["to_boot_ns"] for each in one.entries("pin", first)] == [None]
        one.ask("new")
        one.record()
        (pin,) = one.entries("pin")
        assert pin["from_boot_ns"] is None
        assert pin["to_boot_ns"] == mark["boot_ns"] + 60_000_000_000
        assert len(one.entries("pin", second)) == 1
        one.die()
        one.ask("new")
        assert len(one.entries("pin")) == 1  # still the same drive, and the same minute


def test_a_window_over_many_sessions_is_kept_in_all_of_them(tmp_path: Path) -> None:
    with bench(tmp_path) as one:
        met = []
        for _ in range(4):
            one.record()
            met.append(one.now.id)
            one.ask("new")
        one.record()
        assert one.ask("mark", before_s=30, after_s=0)["unpinned"] == ""
        assert [len(one.entries("pin", each)) for each in met] == [1, 1, 1, 1]


def test_a_window_over_a_stop_is_kept_before_it_too(tmp_path: Path) -> None:
    with bench(tmp_path) as one:
        one.record()
        before = one.now.id
        one.ask("stop")
        one.ask("start")
        one.record()
        assert one.ask("mark", before_s=30, after_s=0)["unpinned"] == ""
        assert len(one.entries("pin", before)) == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"label": "x" * 256},
        {"label": 1},
        {"label": "a\nb"},
        {"cause": "\udce9"},
        {"before_s": -1},
        {"after_s": 4000},
        {"after_s": "x"},
    ],
)
def test_a_mark_that_is_none_is_refused(tmp_path: Path, asked: dict[str, Any]) -> None:
    with bench(tmp_path) as one:
        with pytest.raises(RecorderError, match="must be"):
            one.ask("mark", **asked)
        assert one.entries("mark") == []


def test_a_session_names_what_it_needs_and_says_what_the_store_does_not_hold(
    tmp_path: Path,
) -> None:
    file = tmp_path / "camera.yaml"
    file.write_text("focal: 1")
    named = {"calibration": [str(file), "lost in the workshop"], "mounting": ["/no/such/file"]}
    with bench(tmp_path, dependencies=named) as one:
        store = Dependencies(one.config.dependencies_dir)
        (found, missing) = one.now.dependencies["calibration"]
        assert store.get("calibration", found)[1] == b"focal: 1"
        assert missing == "lost in the workshop"
        assert one.now.dependencies_missing == {
            "calibration": ["lost in the workshop"],
            "mounting": ["/no/such/file"],
        }
        for kind in ("configuration", "software"):
            assert store.get(kind, one.now.dependencies[kind][0])[1]
        assert one.now.model["configuration"] == one.now.dependencies["configuration"][0]
        file.write_text("focal: 2")
        one.ask("new")
        assert one.now.dependencies["calibration"][0] != found


def test_what_is_added_while_it_runs_is_named_at_once_and_by_what_follows(tmp_path: Path) -> None:
    with bench(tmp_path) as one:
        one.record()
        text = base64.b64encode(b"steel").decode()
        told = one.ask("depend", kind="mounting", content=text)
        assert one.records()[-1].dependencies["mounting"] == [told["id"]]
        one.ask("depend", kind="mounting", content=text)
        one.die()
        one.ask("new")
        assert one.now.dependencies["mounting"] == [told["id"]]
        one.ask("stop")
        assert one.ask("depend", kind="mounting", content="")["session"] == ""
        with pytest.raises(RecorderError, match="base64"):
            one.ask("depend", kind="mounting", content="?")


def test_what_was_missing_and_is_added_later_is_missing_no_more(tmp_path: Path) -> None:
    wanted = content_id(b"found again")
    with bench(tmp_path, dependencies={"calibration": [wanted]}) as one:
        assert one.now.dependencies_missing == {"calibration": [wanted]}
        Dependencies(one.config.dependencies_dir).add("calibration", b"found again")
        one.ask("stop")  # with its last heartbeat
        assert one.records()[-1].dependencies_missing == {}


def test_a_session_says_that_what_it_names_is_damaged_until_it_is_added_again(
    tmp_path: Path,
) -> None:
    wanted = content_id(b"focal: 1")
    with bench(tmp_path, dependencies={"calibration": [wanted]}) as one:
        store = Dependencies(one.config.dependencies_dir)
        store.add("calibration", b"focal: 1")
        (one.config.dependencies_dir / "calibration" / wanted[7:]).write_bytes(b"")
        one.ask("new")
        assert one.now.dependencies_missing == {"calibration": [wanted]}
        store.add("calibration", b"focal: 1")
        one.ask("new")
        assert one.now.dependencies_missing == {}


def test_a_disk_that_takes_no_dependency_keeps_nobody_from_recording(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dependencies").write_text("a file, where the store's folder would be")
    with bench(tmp_path) as one:
        one.record()
        assert sorted(one.now.dependencies_missing) == ["configuration", "software"]
        one.ask("stop")
        assert one.records()[-1].lanes[0].stored == 10


ORDERS = ["start", "stop", "new", "mark", "set", "status", "depend"]


@settings(max_examples=40)
@given(steps=st.lists(st.sampled_from([*ORDERS, "put", "put", "die", "commit"]), max_size=30))
def test_whatever_is_ordered_one_session_runs_at_most_and_ended_ones_never_change(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    asked: dict[str, Any] = {
        "mark": {"label": "x"},
        "set": {"details": {"n": 1}},
        "depend": {"kind": "mounting", "content": ""},
    }
    with bench(tmp_path_factory.mktemp("orders")) as one:
        is_on, ended = True, dict[str, Any]()
        for step in steps:
            if step == "put":
                one.producer.put(3)
            elif step == "commit":
                one.spooler.commit()
            elif step == "die":
                one.die()  # what was stopped by hand stays stopped
            else:
                is_refused = (step == "start") == is_on and step not in ("status", "depend")
                with contextlib.suppress(RecorderError) if is_refused else contextlib.nullcontext():
                    one.ask(step, **asked.get(step, {}))
                    assert not is_refused, step
                is_on = {"start": True, "stop": False}.get(step, is_on) if not is_refused else is_on
            found = {each.id: each for each in one.records()}
            running = [each for each in found.values() if each.recording == "running"]
            assert len(running) == is_on
            assert [each.id for each in running] == ([one.now.id] if is_on else [])
            for session_id, before in ended.items():
                assert found[session_id].to_dict() == before
            ended |= {key: each.to_dict() for key, each in found.items() if each.state.is_terminal}
            assert len(found) == len(ended) + is_on
            assert all(each.lanes[0].imbalances() == [] for each in found.values())
        assert_sound(one.config.spool_dir)
