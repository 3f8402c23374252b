"""Scenarios of the upload: the link to the ground station comes and goes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hil.scenarios.bench import PATIENCE_S, RUN_DIR
from hil.scenarios.scenario import Scenario, command, pause, plug, records
from hil.vm.image import CONFIG, KEY_FILE
from hil.vm.ready import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.scenarios.bench import Bench
    from hil.scenarios.recording import Recording

GROUND, FOLDER = "grpc://127.0.0.1:6726", "/srv/ground"
UPLOAD = f"""[upload]
mode = "live"
server = "{GROUND}"
key_file = "/run/credentials/recorder-upload.service/recorder.key"
part_s = 10
"""
SIGN = f"{RUN_DIR}/status/upload.json"
SETTINGS_LIVE = SETTINGS.replace('[upload]\nmode = "off"\n', UPLOAD)
START, STOP = "systemctl start bench-ground", "systemctl stop bench-ground"
#: The key as root has it; the unit's own is gone with the unit.
VERIFY = (
    f"sed 's,^key_file.*,key_file = \"{KEY_FILE}\",' /{CONFIG} > /run/verify.toml"
    " && recorder upload --verify-all --config /run/verify.toml"
)
UP, DOWN = "ip link set lo up", "ip link set lo down"


def is_away(bench: Bench) -> None:
    """Wait until the upload says that the server is away."""
    bench.machine.until(f'grep -q \'"state": "away"\' {SIGN}', PATIENCE_S)


def sends(bench: Bench, after: str = "true") -> None:
    """Wait until more of the recording is at the ground station than was before a command."""
    counted = f"find {FOLDER} -name '*.parquet' | wc -l"
    before = bench.machine.run(counted)
    bench.machine.run(after)
    bench.machine.until(f"test $({counted}) -gt {before}", PATIENCE_S)


def is_there_once(recording: Recording, bench: Bench) -> None:
    """Everything that was recorded is at the ground station, each row once."""
    machine, session_id = bench.machine, recording.session_ids[-1]
    machine.run(f"{UP}; {START}; systemctl start recorder.target")
    machine.until(f"grep -q '\"done\": .*{session_id}' {SIGN}", PATIENCE_S)
    where = f"--server {GROUND} --key-file {KEY_FILE}"
    said = machine.run(f"recorder sessions --json {where}")
    there: Mapping[str, Any] = {one["id"]: one for one in json.loads(said)}[session_id]
    (imu,) = (one for one in there["lanes"] if one["name"] == "imu")
    stored = recording.ledger("imu").stored
    assert (there["state"], imu["delivered"]) == ("closed", stored)
    # The rows themselves, read back and compared with what lies in the spool.
    machine.run(f"systemctl stop recorder-upload; {VERIFY}", PATIENCE_S)
    bench.told.append(f"{stored} rows delivered, each once")


SCENARIOS = (
    Scenario(
        "upload-link",
        "Over a link that comes and goes every row arrives, and once; recording notices nothing.",
        (
            *(plug("imu"), records("imu", rows=200), is_away),
            *(command(START), sends, command(DOWN), is_away, records("imu", rows=500)),
            *(command(UP), sends, command(STOP), is_away, records("imu", rows=500)),
            *(command(START), sends, command(DOWN), pause(3), command(UP), sends),
        ),
        lost={"imu": {}},
        settings=SETTINGS_LIVE,
        shows=is_there_once,
    ),
)
