"""Windows of marks that reach into recordings that were not begun, and a stop that stays one."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recorder.cli import recorder
from recorder.config import Rule
from recorder.spool.marks import marks_in
from recorder.spool.spool import Spool
from tests.recorder.building import Machine, machine, wait_until
from tests.recorder.steered import Bench, bench

S = 1_000_000_000


def marks(one: Bench, session_id: str) -> list[dict[str, Any]]:
    return marks_in(Spool(one.config.spool_dir).entries(session_id))


def is_pinned_to(one: Bench, session_id: str, end_boot_ns: int) -> bool:
    pins = one.entries("pin", session_id)
    return any((each["to_boot_ns"] or 0) >= end_boot_ns for each in pins)


def end_of(mark: dict[str, Any]) -> int:
    return int(mark["boot_ns"] + mark["after_s"] * S)


@pytest.mark.parametrize("way", ["new", "stop", "stop and die", "stop and die twice"])
def test_a_window_that_goes_on_is_kept_and_named_in_the_next_recording(
    way: str, tmp_path: Path
) -> None:
    with bench(tmp_path) as one:
        one.record()
        first = one.now.id
        set_ = one.ask("mark", label="bump", before_s=1.0, after_s=600.0)
        one.ask("mark", label="short", before_s=1.0, after_s=0.0)
        if way == "new":
            one.ask("new")
        else:
            one.ask("stop")
            for _ in range({"stop": 0, "stop and die": 1}.get(way, 2)):
                one.die()
            one.ask("start")
        one.record()
        second = one.now.id
        (carried,) = marks(one, second)
        assert carried == {**marks(one, first)[0], "session": first}
        assert carried["label"] == "bump"
        assert is_pinned_to(one, second, end_of(set_))
        one.ask("new")  # and on it goes
        assert marks(one, one.now.id) == [carried]
        shown = CliRunner().invoke(
            recorder, ["show", second, "--spool", str(one.config.spool.directory)]
        )
        assert "bump (operator)" in shown.output
        assert f"set in {first[:8]}" in " ".join(shown.output.split())


def test_what_else_was_said_does_not_go_over_to_a_recording_that_is_started_anew(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as one:
        one.record()
        one.ask("set", details={"route": "loop"})
        one.ask("mark", label="bump", after_s=600.0)
        one.ask("stop")
        one.ask("start")
        assert "route" not in one.now.details
        assert one.now.predecessor == ""
        assert [each["label"] for each in marks(one, one.now.id)] == ["bump"]


@pytest.fixture
def running(tmp_path: Path) -> Any:
    with machine(tmp_path) as one:
        one.start("spool")
        one.start("lane")
        wait_until(lambda: one.stored() > 20)
        yield one


def ids(one: Machine) -> list[str]:
    return Spool(one.spool).session_ids()


def order(one: Machine, tmp_path: Path, command: str) -> Any:
    from recorder.command import ask  # noqa: PLC0415 - beside its one use

    return ask(one.config.command_socket, command)


def word(one: Machine) -> str:
    return str(one.sign("spool").get("state", ""))


def test_a_stop_by_hand_outlives_a_kill_of_the_process_and_ends_with_a_start(
    tmp_path: Path, running: Machine
) -> None:
    order(running, tmp_path, "stop")
    known = ids(running)
    for _ in range(2):
        pid = running.processes["spool"].pid
        running.kill("spool")
        running.start("spool")
        wait_until(functools.partial(fresh, running, pid))
        assert (ids(running), word(running)) == (known, "no session")
    order(running, tmp_path, "start")
    wait_until(lambda: running.stored() > 20)
    assert len(ids(running)) == len(known) + 1


def fresh(one: Machine, pid: int) -> bool:
    """Whether the sign of life is that of a later process, and it has committed."""
    try:
        sign = json.loads((one.config.spool.run_dir / "status" / "spool.json").read_text())
    except (OSError, ValueError):
        return False
    return int(sign["pid"]) != pid


def test_a_recorder_that_was_told_to_end_records_when_it_is_started_again(
    tmp_path: Path, running: Machine
) -> None:
    order(running, tmp_path, "stop")
    known = ids(running)
    assert running.end("spool") == 0
    running.start("spool")
    wait_until(lambda: len(ids(running)) == len(known) + 1)


def test_a_rule_that_holds_all_along_does_not_begin_what_was_stopped_by_hand(
    tmp_path: Path,
) -> None:
    line = tmp_path / "ignition"
    line.write_text("1")
    with bench(tmp_path) as one:
        one.spooler.close()
        rules = [Rule(do="record", line=f"file:{line}")]
        one.config = dataclasses.replace(one.config, rules=rules)
        one.die()
        turn(one)
        one.record()
        one.ask("stop")
        for _ in range(2):
            one.die()
            turn(one)
            assert one.spooler.recording is None
        one.spooler._triggers._settled_ns = 0
        line.write_text("0")
        turn(one)
        line.write_text("1")
        turn(one)
        assert one.spooler.recording is not None


def turn(one: Bench) -> None:
    one.spooler.commit()
    one.spooler._triggers.act(one.spooler)
