"""`start`, `stop`, `new`, `mark`, `set`, `dependency` and `show --sources`, as people call them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from recorder.cli import lineage, recorder
from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient
from recorder.spool.dependencies import Dependencies, content_id
from recorder.spool.spool import Spool
from tests.recorder.building import Machine, machine, new_session, shelf, wait_until

CONFIG = """
[vehicle]
name = "van"
[session]
heartbeat_s = 1.0
[spool]
directory = "data"
run_dir = "run"
free_floor_bytes = 0
[upload]
mode = "{mode}"
server = "{server}"
[[lanes]]
name = "imu"
driver = "tests.recorder.building:Numbered"
"""


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(recorder, [str(one) for one in arguments])


def facts(*arguments: str | Path) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recorder.toml"
    path.write_text(CONFIG.format(mode="off", server=""))
    return path


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path) as one:
        one.start("spool")
        one.start("lane")
        wait_until(lambda: one.stored() > 20)
        yield one


def records(one: Machine) -> list[Any]:
    spool = Spool(one.spool)
    return [spool.session(session_id) for session_id in spool.session_ids()]


def test_a_recording_is_shown_before_while_and_after_it_is_there(
    file: Path, running: Machine
) -> None:
    def shown(session_id: str) -> str:
        return " ".join(call("show", session_id, "--config", file).output.split())

    (first,) = records(running)
    assert "state open, recording running" in shown(first.id)
    second = facts("new", "--config", file)
    assert second["predecessor"] == first.id
    assert "state closed, recording stopped (roll_over)" in shown(first.id)
    assert f"follows {first.id} without a gap" in shown(second["id"])
    assert facts("stop", "--config", file)["id"] == second["id"]
    assert "state closed, recording stopped (operator)" in shown(second["id"])
    refused = call("stop", "--config", file)
    assert (refused.exit_code, "no session is being recorded" in refused.output) == (1, True)
    running.end("lane")  # nothing comes: it waits for its first sample
    third = facts("start", "--config", file)["id"]
    assert "state waiting, recording running" in shown(third)
    assert "needs configuration sha256:" in shown(third)
    refused = call("start", "--config", file)
    assert (refused.exit_code, "is being recorded already" in refused.output) == (1, True)


def test_what_is_set_and_marked_is_shown_at_once(file: Path, running: Machine) -> None:
    call("set", "identifier", "lap {id8}", "--config", file)
    told = call("set", "detail", "route=loop 7", "laps=3", "wet=true", "--config", file)
    assert told.exit_code == 0, told.output
    marked = facts("mark", "--label", "bump", "--before", "1", "--config", file)
    (session,) = records(running)
    own = {"box": session.details["box"]}
    assert session.details == {"route": "loop 7", "laps": 3, "wet": True} | own
    assert session.identifier == f"lap {session.id[:8]}"
    shown = " ".join(call("show", session.id, "--config", file).output.split())
    assert "bump (operator)" in shown
    assert "detail route loop 7" in shown
    (mark,) = facts("show", session.id, "--config", file)["marks"]
    assert (mark["boot_ns"], mark["after_s"]) == (marked["boot_ns"], 60.0)
    # Brackets are what somebody wrote, and no markup.
    call("set", "identifier", "[/x] [red]{id8}", "--config", file)
    assert f"[/x] [red]{session.id[:8]}" in call("show", session.id, "--config", file).output
    call("set", "detail", "serial=007", "gap=1_2", "name=nan", f"sim={'8' * 20}", "--config", file)
    (session,) = records(running)
    told_as_text = {key: session.details[key] for key in ("serial", "gap", "name", "sim")}
    assert told_as_text == {"serial": "007", "gap": "1_2", "name": "nan", "sim": "8" * 20}
    for wrong in (["detail", "route"], ["detail", "a.b=1"], ["identifier", "{nobody}"]):
        assert call("set", *wrong, "--config", file).exit_code != 0


def test_a_dependency_is_added_beside_a_running_recorder_or_without_one(
    tmp_path: Path, file: Path
) -> None:
    one_file = tmp_path / "camera.yaml"
    one_file.write_bytes(b"\0focal: 1\xff")
    found = facts("dependency", "add", "calibration", one_file, "--config", file)
    assert found == {"id": content_id(one_file.read_bytes()), "session": ""}
    with machine(tmp_path) as one:
        one.start("spool")
        wait_until(lambda: one.sign("spool").get("session"))
        one_file.write_bytes(bytes(4 * 1024 * 1024))
        found = facts("dependency", "add", "calibration", one_file, "--config", file)
        (session,) = records(one)
        assert found["session"] == session.id
        assert session.dependencies["calibration"] == [found["id"]]
        assert session.dependencies_missing == {}
        one_file.write_bytes(bytes(4 * 1024 * 1024 + 1))
        refused = call("dependency", "add", "calibration", one_file, "--config", file)
        assert (refused.exit_code, "at most" in refused.output) == (1, True)
    os.mkfifo(tmp_path / "pipe")
    for endless in (tmp_path / "pipe", "/dev/zero"):
        refused = call("dependency", "add", "calibration", endless, "--config", file)
        assert (refused.exit_code, "at most" in refused.output) == (1, True)
    listed = facts("dependency", "list", "--config", file)
    kinds = [each["kind"] for each in listed]
    assert kinds == ["calibration", "calibration", "configuration", "software"]
    out = tmp_path / "out"
    small = content_id(b"\0focal: 1\xff")[7:15]
    got = call("dependency", "get", f"calibration:{small}", "-o", out, "--config", file)
    assert got.exit_code == 0, got.output
    assert out.read_bytes() == b"\0focal: 1\xff"
    assert call("dependency", "get", f"mounting:{small}", "--config", file).exit_code == 1
    assert call("dependency", "get", "calibration", "--config", file).exit_code == 2


def test_a_dependency_is_fetched_from_a_server(tmp_path: Path, file: Path) -> None:
    from recorder.upload.dependencies import bring  # noqa: PLC0415 - Arrow, for this test only

    store = Dependencies(tmp_path / "data" / "dependencies")
    found, content = store.get("mounting", store.add("mounting", b"roof\0"))
    with GroundStation(tmp_path / "ground") as station:
        with MosaicoClient.connect_url(station.url) as client:
            bring(client, found, content, lambda _: None)
        where = ("--server", station.url, "--config", file)
        (listed,) = facts("dependency", "list", *where)
        assert listed["id"] == found.id
        out = tmp_path / "out"
        assert call("dependency", "get", f"mounting:{found.id}", "-o", out, *where).exit_code == 0
        assert out.read_bytes() == content


def test_a_missing_dependency_is_said_by_show_and_by_check(tmp_path: Path, file: Path) -> None:
    named = CONFIG.format(mode="off", server="").replace(
        "[spool]", f'dependencies = {{calibration = ["sha256:{"0" * 64}"]}}\n[spool]'
    )
    file.write_text(named)
    checked = call("check", "--config", file)
    assert f"calibration sha256:{'0' * 64}" in " ".join(checked.output.split())
    assert checked.exit_code == 1


def test_a_dependency_that_is_damaged_on_the_disk_is_said_by_check(
    tmp_path: Path, file: Path
) -> None:
    store = Dependencies(tmp_path / "data" / "dependencies")
    found = store.add("calibration", b"focal: 1")
    plain = CONFIG.format(mode="off", server="")
    file.write_text(
        plain.replace("[spool]", f'dependencies = {{calibration = ["{found}"]}}\n[spool]')
    )
    told = f"dependency calibration {found}: not whole in the store"
    assert told not in " ".join(call("check", "--config", file).output.split())
    (tmp_path / "data" / "dependencies" / "calibration" / found[7:]).write_bytes(b"")
    checked = call("check", "--config", file)
    assert told in " ".join(checked.output.split())
    assert checked.exit_code == 1


def of(*sources: str, identifier: str = "") -> dict[str, Any]:
    return {
        "sources": list(sources), "identifier": identifier, "state": "closed", "start_utc_ns": None
    }  # fmt: skip


def test_sources_are_walked_over_all_places_with_cycles_and_missing_ones_said() -> None:
    here = {"a": of("b", "c", "x"), "b": of("d"), "c": of("a")}
    there = {"d": of("b", "e"), "e": of(), "b": of("never asked")}
    asked: list[str] = []

    def records(name: str, known: dict[str, Any]) -> Any:
        def give() -> list[dict[str, Any]]:
            asked.append(name)
            return [{"id": key, **one} for key, one in known.items()]

        return name, give

    find = lineage.finder([records("spool", here), records("server", there)])
    tree = lineage.walk("a", find)
    assert asked == ["spool", "server"]

    def plain(node: lineage.Node) -> Any:
        return (node.id, node.state, node.where, [plain(one) for one in node.sources])

    assert plain(tree) == (
        "a", "known", "spool", [
            ("b", "known", "spool", [
                ("d", "known", "server", [
                    ("b", "cycle", "spool", []), ("e", "known", "server", []),
                ]),
            ]),
            ("c", "known", "spool", [("a", "cycle", "spool", [])]),
            ("x", "missing", "", []),
        ],
    )  # fmt: skip
    assert not tree.is_whole
    assert lineage.walk("e", find).is_whole


def test_show_walks_sources_in_the_spool_and_says_what_is_missing(
    tmp_path: Path, file: Path
) -> None:
    with shelf(tmp_path / "data") as one:
        session = one.recording.session
        session.sources = ["gone"]
        one.producer.put(3)
        one.commit()
        one.end()
    result = call("show", session.id[:8], "--sources", "--config", file)
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == "└── gone: missing"
    assert new_session(["imu"]).sources == []
