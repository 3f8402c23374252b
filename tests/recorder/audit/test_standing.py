"""What is given up of a recording behind its end: everybody says the same of what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from recorder.audit import audit_spool
from recorder.cli import recorder
from recorder.cli.sources import from_spool
from recorder.export import export_session
from recorder.spool.journal import Journal
from recorder.spool.verify import verify
from tests.recorder.audit.filled import ID, Filled, filled


def give_up(one: Filled, lane: str, segments: int) -> int:
    """Give sealed segments of an ended recording up, as the spool does; return how many samples."""
    sealed = [each for each in one.entries("sealed") if each["lane"] == lane][:segments]
    journal = Journal(one.spool.journal_path(ID))
    for each in sealed:
        stone = {key: each[key] for key in ("lane", "file", "rows")}
        journal.append({"entry": "evicted", **stone, "delivered": False, "leased": False})
        (one.spool.session_dir(ID) / lane / each["file"]).unlink()
    journal.close()
    return sum(each["rows"] for each in sealed)


def call(*arguments: object) -> str:
    return CliRunner().invoke(recorder, [str(each) for each in arguments]).output


def test_show_audit_and_verify_agree_on_what_is_left_and_the_state_stays(tmp_path: Path) -> None:
    with filled(tmp_path, {"gps": 10.0, "imu": 200.0}) as one:
        one.fill("gps", 60)
        one.fill("imu", 60, seal_s=10)
        one.end()
        before = one.entries("session")[-1]
        assert give_up(one, "imu", 2) == 4000
        (shown,) = from_spool(one.spool)
        audit = audit_spool(one.spool.directory, ID)
        (checked,) = verify(one.spool.directory).sessions
        assert one.entries("session")[-1] == before  # a terminal record never changes
    assert not any("uploader" in each for each in audit.notes)  # nothing was to be sent
    lanes: dict[str, Any] = {each["name"]: each for each in shown["lanes"]}
    assert {shown["state"], audit.state, checked.state} == {"closed"}
    assert shown["given_up"] == {"imu": 4000}
    assert (shown["quality"], shown["quality_min"], shown["quality_lower"]) == (
        0.8333,
        0.6666,
        0.8333,
    )
    assert shown["ledger_ok"]
    assert {key: shown[key] for key in audit.standing} == audit.standing
    held = {name: each["delivered"] for name, each in lanes.items()}
    assert held == audit.held == {each.lane: each.rows for each in checked.lanes}
    assert checked.given_up == 4000
    assert audit.is_equal, audit.all_differences
    assert verify(one.spool.directory).is_sound


def test_people_are_told(tmp_path: Path) -> None:
    with filled(tmp_path, {"imu": 200.0}) as one:
        one.fill("imu", 60, seal_s=10)
        one.end()
        give_up(one, "imu", 3)
        place = tmp_path / "data"
        told = " ".join(call("show", ID[:6], "--spool", place).split())
        assert "6,000 samples of it were given up since it ended; its state stays closed" in told
        assert "0.5000 held in the spool" in told
        assert "quality now, closed as it stays: 0.5000" in call("audit", place, ID)
        assert "6,000 samples given up since it ended" in call("verify", place)
        export_session(one.spool, ID, tmp_path / "out", "parquet")
    record = json.loads((tmp_path / "out" / "session.json").read_text())
    assert (record["quality"], record["state"]) == (0.5, "closed")
