"""A real lane whose device gives late what it kept while it was silent."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from drivers.base import Sample
from recorder.audit import audit_spool
from recorder.clock import boot_ns
from recorder.spool.spool import Spool
from tests.recorder.building import Machine, Numbered, machine, wait_until

S = 1_000_000_000


class Keeping(Numbered):
    """A device that gives nothing for a while, and then all that it kept."""

    kind = "keeping"

    def __init__(self, *, quiet_from_ns: int = 0, quiet_s: float = 4.0, **options: Any) -> None:
        super().__init__(**options)
        self._quiet_ns = quiet_from_ns, quiet_from_ns + round(quiet_s * S)

    def read(self, timeout_s: float) -> Sample | None:
        if self._quiet_ns[0] <= boot_ns() < self._quiet_ns[1]:
            time.sleep(timeout_s)
            return None
        return super().read(timeout_s)


def test_a_real_lane_takes_back_what_its_device_gives_late(tmp_path: Path) -> None:
    # A lane that has just opened its device waits 5 s before it believes a silence.
    with machine(tmp_path, heartbeat_s=0.5, ring_bytes=1 << 20) as one:
        (lane,) = one.config.lanes
        options = {**lane.options, "quiet_from_ns": boot_ns() + 12 * S}
        driver = "tests.recorder.test_late_lane:Keeping"
        lanes = [dataclasses.replace(lane, driver=driver, options=options)]
        one.config = dataclasses.replace(one.config, lanes=lanes)
        one.start("spool")
        one.start("lane")
        wait_until(lambda: absent(one) > 1000)
        wait_until(lambda: absent(one) < 500)
        one.end("lane")
        one.end("spool")
        (session_id,) = Spool(one.spool).session_ids()
        found = audit_spool(one.spool, session_id)
        assert found.all_differences == []
        account = found.lanes[0].recorded
        assert account["expected"] == account["stored"] + account["lost_absent"]


def absent(one: Machine) -> int:
    spool = Spool(one.spool) if (one.spool / "FORMAT").exists() else None
    ids = spool.session_ids() if spool else []
    return spool.session(ids[0]).lanes[0].lost_absent if spool and ids else 0
