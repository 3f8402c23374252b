"""A lane whose process never comes: nobody else says that it is missing, so the spool does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recorder.audit import audit_spool
from recorder.booking import START_ALLOWANCE_NS
from recorder.command import ask
from recorder.spool.spool import Spool
from tests.recorder.building import Machine, machine, wait_until


def session(one: Machine) -> dict[str, Any]:
    path = one.config.spool.run_dir / "status" / "spool.json"
    found: dict[str, Any] = json.loads(path.read_text())["session"]
    return found


def test_the_default_does_not_outlast_the_first_heartbeat_after_something_was_due(
    tmp_path: Path,
) -> None:
    with machine(tmp_path, heartbeat_s=1.0) as one:
        one.start("spool")
        wait_until(lambda: one.sign("spool").get("session"))
        first = session(one)
        assert (first["quality"], first["quality_basis"]) == (0.9, "default")
        spool = Spool(one.spool)
        wait_until(lambda: spool.session(first["id"]).quality.basis == "held")
        told = spool.session(first["id"])
        waited_ns = told.heartbeat_boot_ns - told.announced_boot_ns
        assert waited_ns < START_ALLOWANCE_NS + 4e9
        assert (told.state.name, told.quality.value) == ("waiting", 0.0)
        assert told.lanes[0].lost_absent == told.lanes[0].expected > 0
        assert audit_spool(one.spool, first["id"]).all_differences == []
        one.start("lane")
        wait_until(lambda: one.stored() > 20)
        ended = ask(one.config.command_socket, "new")
        last = spool.session(first["id"])
        assert ended["predecessor"] == last.id
        assert last.state.name == "closed"
        assert audit_spool(one.spool, first["id"]).all_differences == []


def test_what_was_due_from_a_lane_that_never_came_is_counted_at_a_roll_over_too(
    tmp_path: Path,
) -> None:
    with machine(tmp_path, heartbeat_s=1.0) as one:
        one.start("spool")
        wait_until(lambda: one.sign("spool").get("session"))
        spool, first = Spool(one.spool), session(one)["id"]
        wait_until(lambda: spool.session(first).lanes[0].lost_absent > 0)
        told = spool.session(first).lanes[0].lost_absent
        ask(one.config.command_socket, "new")
        assert spool.session(first).lanes[0].lost_absent >= told
        assert audit_spool(one.spool, first).all_differences == []
