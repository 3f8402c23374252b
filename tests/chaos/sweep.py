"""Every step once: one small recording is uploaded again and again, each time with one fault.

The uploader dies before and after each entry of its journal, and behind each batch; the answer of
each call is lost; the station dies at each of its durable steps; all with a key that may delete and
with one that may not. A kind of fault is through when an upload ended before it struck.
"""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from tests.chaos.campaign import DRAIN_S, KEYS, MEMORY, Tally
from tests.chaos.drive import ChaosDrive, Known
from tests.chaos.oracle import Allowed, judge_end
from tests.chaos.processes import SilentError
from tests.chaos.proxy import Toxic
from tests.chaos.scene import Scene, SceneError
from tests.chaos.stored import StoredError
from tests.chaos.verdict import Verdict
from tests.recorder.upload.made import UTC_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ("uploader before", "uploader after", "uploader write", "answer", "station")
STRIKE_S = 10.0


def small(folder: Path) -> Known:
    """Record one session that lost its power."""
    drive = ChaosDrive(folder)
    drive.tell_time()
    drive.imu(10)
    drive.gps(5)
    drive.pictures(9)
    drive.mark("pothole")
    drive.end("power_loss")
    return Known(folder / "data", [drive.recorded(UTC_NS - drive.start_ns)])


def sweep(build: str, tally: Tally) -> Iterator[tuple[str, Verdict]]:
    """Let every fault strike at every place; yield where, and what was found."""
    root = Path(mkdtemp(dir=MEMORY if MEMORY.is_dir() else None, prefix="chaos-"))
    try:
        spool = small(root / "known")
        for kind, key in itertools.product(KINDS, KEYS):
            for number in itertools.count(1):
                with Scene(root / "upload", random.Random(number), build) as scene:
                    has_struck, verdict = _play(scene, spool, key, kind, number)
                    tally.take(scene)
                if not has_struck and not verdict.problems:
                    break
                tally.add(verdict)
                tally.events[kind] += 1
                yield f"{kind} {number}, key {key}", verdict
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _play(scene: Scene, spool: Known, key: str, kind: str, number: int) -> tuple[bool, Verdict]:
    shutil.copytree(spool.data, scene.data)
    known = Known(scene.data, spool.sessions)
    try:
        scene.station()
        scene.give_key(key)
        has_struck = _strike(scene, kind, number)
        verdict = scene.look([one.id for one in known.sessions])
        scene.drain(DRAIN_S)
    except (SceneError, SilentError, StoredError) as error:
        return True, Verdict([str(error)])
    ended = judge_end(known, scene.ground, Allowed(scene.has_spent_names))
    ended.problems = verdict.problems + ended.problems
    return has_struck, ended


def _strike(scene: Scene, kind: str, number: int) -> bool:
    """Upload until the fault strikes or everything is done; return whether it struck."""
    who, _, where = kind.partition(" ")
    death: tuple[str, str, int] | None = None
    if who == "uploader":
        death = ("after", where, number) if where == "write" else (where, "any", number)
    elif who == "answer":
        scene.link.arm([Toxic("lose_answer", number)])
    else:
        scene.end_station()
        scene.station(number)
    scene.start_uploader(scene.orders(death=death))
    scene.wait(STRIKE_S, lambda: scene.is_drained() or bool(scene.link.struck))
    return scene.has_died or bool(scene.link.struck)
