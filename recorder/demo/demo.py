"""The demo's course: models, ground station, recorder; record, stop, read back, judge."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console

from drivers.sim.world import World
from recorder.demo import report, stage
from recorder.demo.processes import Usage, usage
from recorder.demo.reconcile import reconcile_lane
from recorder.demo.result import LaneResult
from recorder.errors import ConfigError, RecorderError
from recorder.runner import POLL_S, Runner
from recorder.session.session import Session
from recorder.spool.receipts import final_session
from recorder.spool.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recorder.config import Config

LEAST_S, MOST_S = 1.0, 86_400.0
_KILL = re.compile(r"(lane:\w+|spool|upload)@(\d+(?:\.\d+)?)s?")
LANES = ("gps", "imu", "camera")
READ_BACK_S = 120


@dataclasses.dataclass(frozen=True)
class Kill:
    """A process to be killed with SIGKILL, and when, in seconds after the start."""

    name: str
    at_s: float

    def __str__(self) -> str:
        """Return it as it was written."""
        return f"{self.name}@{self.at_s:g}s"


def parse_kill(text: str) -> Kill:
    """Read ``lane:imu@8s``, ``spool@8s`` or ``upload@8s``.

    Raises:
        ConfigError: it is none of these.
    """
    found = _KILL.fullmatch(text)
    names = [*(f"lane:{lane}" for lane in LANES), "spool", "upload"]
    if found is None or found[1] not in names:
        raise ConfigError(f"--kill {text!r}: write PROCESS@SECONDSs; processes: {', '.join(names)}")
    return Kill(found[1], float(found[2]))


def demo(
    seconds: float,
    directory: Path,
    *,
    gps_log: Path | None = None,
    drive: Path | None = None,
    kills: Sequence[str] = (),
    json_file: Path | None = None,
) -> int:
    """Record models for a while, read everything back from a server, and prove what is there.

    Args:
        seconds: how long to record, 1 to 86,400.
        directory: everything it writes lies there; emptied if it is of an earlier demo.
        gps_log: a receiver's log to play byte for byte, or None.
        drive: a drive to play, or None.
        kills: processes to kill in between, as `parse_kill` reads them.
        json_file: where to write the result as JSON, or None.

    Returns:
        Exit code: 0 if everything is reconciled, else 1.

    Raises:
        ConfigError: an argument is wrong; told before anything is started.
        RecorderError: the models, the ground station or the read-back could not do their part.
    """
    planned = _plan(seconds, kills)
    source = stage.choose_source(gps_log, drive)
    with stage.prepared(directory):
        if json_file is not None and not os.access(json_file.parent, os.W_OK):
            raise ConfigError(f"--json {json_file}: there is no such folder, or it is read-only")
        return _play(seconds, directory, source, planned, json_file)


def _plan(seconds: float, kills: Sequence[str]) -> list[Kill]:
    if not LEAST_S <= seconds <= MOST_S:
        raise ConfigError(f"--seconds {seconds:g}: must be {LEAST_S:g} to {MOST_S:g}")
    planned = sorted((parse_kill(text) for text in kills), key=lambda one: one.at_s)
    if planned and planned[-1].at_s >= seconds:
        raise ConfigError(f"--kill {planned[-1]}: the recording is over after {seconds:g} s")
    return planned


def _play(
    seconds: float,
    directory: Path,
    source: dict[str, Any],
    kills: Sequence[Kill],
    json_file: Path | None,
) -> int:
    console = Console()
    console.print(f"demo: playing {stage.describe(source)} for {seconds:g} s", highlight=False)
    world = World(directory, {"source": source, "baud": stage.baud(source)})
    with stage.Ground(directory / "ground") as ground:
        with stage.playing(world):
            config = stage.settings(directory, source, world, ground.url)
            used, findings = _record(config, seconds, kills)
        console.print("demo: reading everything back with the vendor's SDK", highlight=False)
        spool = Spool(config.spool_dir)
        session = _session(config, spool)
        facts, rows = _read_back(ground.url, session.id, directory / "readback.jsonl")
    lanes = [reconcile_lane(lane, world.logs, spool, session, rows.get(lane, [])) for lane in LANES]
    findings = [*(text for one in lanes for text in one.findings), *findings]
    findings += _of_the_whole(spool, session, facts)
    report.show(console, lanes, used, session, findings)
    if json_file is not None:
        json_file.write_text(_as_json(source, lanes, used, session, findings))
    return 1 if findings else 0


def _record(config: Config, seconds: float, kills: Sequence[Kill]) -> tuple[list[Usage], list[str]]:
    """Run the recorder for so long; return what its processes used, and what went wrong."""
    runner = Runner(config)
    left = list(kills)
    try:
        runner.start()
        started = time.monotonic()
        while (passed_s := time.monotonic() - started) < seconds:
            runner.poll()
            if left and passed_s >= left[0].at_s and _kill(runner, left[0].name):
                del left[0]
            time.sleep(POLL_S)
        left = [one for one in left if not _kill(runner, one.name)]
        named = [(name, pid) for name in runner.names if (pid := runner.pid(name))]
        used = [found for name, pid in named if (found := usage(name, pid))]
        missed = [f"{one}: it was never killed, since it did not run" for one in left]
        # A lane that was killed and not back yet is counted by the recording's end, and judged.
        ends = ("was not running at the end", f"ended with {-signal.SIGKILL}")
        expected = {f"{one.name} {end}" for one in kills for end in ends}
        return used, [*missed, *(text for text in runner.stop() if text not in expected)]
    finally:
        runner.kill()


def _kill(runner: Runner, name: str) -> bool:
    """Kill a process if it runs just now, and tell whether it did."""
    pid = runner.pid(name)
    if pid is None:
        return False
    logging.getLogger("demo").warning("killing %s with SIGKILL", name)
    os.kill(pid, signal.SIGKILL)
    return True


def _session(config: Config, spool: Spool) -> Session:
    """Return the recording's final record, or the newest one if it never became final."""
    session_id = spool.session_ids()[-1]
    return final_session(config.upload_dir / session_id) or spool.session(session_id)


def _read_back(
    url: str, session_id: str, file: Path
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Run the read-back in a process of its own; return the sequence's facts and rows by lane.

    Raises:
        RecorderError: it failed, or took longer than `READ_BACK_S`.
    """
    command = [sys.executable, "-m", "recorder.demo.readback", url, session_id, str(file)]
    try:
        # In a session of its own, so that Ctrl-C reaches it as the end, not as a traceback.
        subprocess.run(
            command,
            check=True,
            timeout=READ_BACK_S,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise RecorderError(f"the read-back took longer than {READ_BACK_S} s") from error
    except subprocess.CalledProcessError as error:
        words = error.stderr.splitlines() or [f"it ended with {error.returncode}"]
        raise RecorderError(f"the read-back failed: {words[-1]}") from error
    facts: dict[str, Any] = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    with file.open() as lines:
        for line in lines:
            found = json.loads(line)
            if "sequence" in found:
                facts = found
            else:
                rows.setdefault(found["topic"].split("/")[0], []).append(found)
    return facts, rows


def _of_the_whole(spool: Spool, session: Session, facts: dict[str, Any]) -> list[str]:
    checks = {
        f"{len(spool.session_ids())} sessions were recorded": len(spool.session_ids()) == 1,
        "the server does not have the recording": bool(facts),
        f"the session is {session.state.name}, not closed": session.state.name == "closed",
        "a topic on the server is not finalized": all(facts.get("locked", {}).values()),
        "the commit mark recorder/summary is missing": any(
            topic.lstrip("/").startswith("recorder/summary") for topic in facts.get("topics", {})
        ),
    }
    return [finding for finding, holds in checks.items() if not holds]


def _as_json(
    source: dict[str, Any],
    lanes: Sequence[LaneResult],
    used: Sequence[Usage],
    session: Session,
    findings: Sequence[str],
) -> str:
    facts = {
        "played": stage.describe(source),
        "reconciled": not findings,
        "findings": list(findings),
        "lanes": [dataclasses.asdict(one) for one in lanes],
        "session": session.to_dict(),
        "processes": [dataclasses.asdict(one) for one in used],
    }
    return json.dumps(facts, indent=2) + "\n"
