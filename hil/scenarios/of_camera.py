"""The camera's scenarios."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from drivers.sim.pictures import read_number
from hil.scenarios.scenario import (
    NOTHING,
    SOME,
    Scenario,
    fault,
    over,
    pause,
    plug,
    pull,
    records,
    recovers,
    signal,
)
from hil.usb.uvc import DAMAGED, LOST, SENT
from hil.vm.ready import SETTINGS
from recorder.lane import STUCK_EXIT_CODE

if TYPE_CHECKING:
    from typing import Any

    from hil.scenarios.bench import Bench
    from hil.scenarios.recording import Recording


#: Thirty pictures a second: ten thousand in six minutes. The camera's lane is the last.
SETTINGS_BRISK = "rate_hz = 30".join(SETTINGS.rsplit("rate_hz = 10", 1))
#: Of ten pictures eight are recorded: 10,500 in all.
AT_A_TIME, MANY_TIMES = 400, 21


def spoil(camera: Any) -> None:
    """Let one picture in ten be damaged, and one in ten be lost on the wire."""
    camera.usb.spoil(DAMAGED, 0.1)
    camera.usb.spoil(LOST, 0.1)


def spare(camera: Any) -> None:
    """Let all pictures come whole again."""
    camera.usb.spoil(DAMAGED, 0)
    camera.usb.spoil(LOST, 0)


def agrees(recording: Recording, bench: Bench, most_unbuffered: int = 0) -> None:
    """What the camera did between the first picture and the last is what was counted.

    Args:
        recording: what was recorded.
        bench: with the camera.
        most_unbuffered: so many pictures may have come for which the kernel had no buffer.
    """
    rows = recording.rows("camera")
    first, last = (read_number(row.picture) for row in (rows[0], rows[-1]))
    frames = [one for one in bench.sensors["camera"].usb.frames if first <= one.number <= last]
    fates = [one.fate for one in frames]
    assert set(fates) >= {DAMAGED, LOST}
    assert len(frames) == last - first + 1, "the camera itself left pictures out"
    counts = recording.losses("camera")
    lost = counts.get("lost_source", 0) + counts.get("lost_absent", 0)
    counted = rows[-1].values["lost_sensor"]
    assert lost == counted, f"counted {counted} by the driver, {lost} in all"
    unbuffered = fates.count(SENT) - len(rows)
    assert 0 <= unbuffered <= most_unbuffered, f"{unbuffered} pictures came and are not there"
    told = counts.get("lost_broken", 0), counted
    # The kernel keeps damaged frames to itself; their numbers are missing all the same.
    right = 0, fates.count(DAMAGED) + fates.count(LOST) + unbuffered
    assert told == right, f"broken, lost: recorded {told}, right {right}"


def has_ended_its_process(_: Recording, bench: Bench) -> None:
    """The journal has the exit code of a lane whose device only a new process can use."""
    said = bench.machine.run("journalctl --no-pager -u recorder-lane@camera")
    assert f"status={STUCK_EXIT_CODE}" in said, said


SCENARIOS = (
    Scenario(
        "camera-plug",
        "Ten pictures a second from a real node, and none is lost.",
        (plug("camera"), recovers("camera", "plug", rows=150)),
        lost={"camera": NOTHING},
    ),
    Scenario(
        "camera-replug",
        "A camera that is pulled while it streams comes back under the same name.",
        (
            *(plug("camera"), records("camera"), pull("camera"), pause(2)),
            *(plug("camera"), recovers("camera", "plug")),
        ),
        lost={"camera": {"lost_absent": SOME, "lost_broken": (0, 1)}},
        is_short=True,
    ),
    Scenario(
        "camera-stall",
        "A camera that gives nothing and says nothing is found out, and opened again.",
        (
            *(plug("camera"), records("camera")),
            fault("camera", lambda camera: camera.usb.stall(6)),
            *(pause(6), over, recovers("camera", "stall")),
        ),
        lost={"camera": {"lost_absent": SOME, "lost_source": (0, 100)}},
    ),
    Scenario(
        "camera-drops",
        "Of pictures that are damaged or lost at random, the recording has the camera's own count.",
        (
            *(plug("camera"), records("camera"), fault("camera", spoil)),
            records("camera", rows=300),
            fault("camera", spare),
            records("camera"),
        ),
        lost={"camera": {"lost_source": SOME}},
        shows=agrees,
        is_short=True,
    ),
    Scenario(
        "camera-many-drops",
        "Nor is one miscounted of ten thousand pictures, at thirty a second.",
        (
            *(plug("camera"), records("camera"), fault("camera", spoil)),
            *[records("camera", rows=AT_A_TIME)] * MANY_TIMES,
            fault("camera", spare),
            records("camera"),
        ),
        lost={"camera": {"lost_source": SOME}},
        settings=SETTINGS_BRISK,
        # On a host with ten times its work the reader left no buffer for two of 10,874.
        shows=functools.partial(agrees, most_unbuffered=20),
    ),
    Scenario(
        "camera-slow-reader",
        "What came while nobody took it is counted by the driver's numbers.",
        (
            *(plug("camera"), records("camera"), signal("camera", "STOP"), pause(4)),
            *(signal("camera", "CONT"), over, recovers("camera", "slow reader")),
        ),
        lost={"camera": {"lost_source": SOME}},
    ),
)
#: The same camera through libcamera and picamera2: played on the machine of `hil.picamera`.
BY_PICAMERA = (
    Scenario(
        "picamera-plug",
        "Ten pictures a second through libcamera and picamera2, and none is lost.",
        (plug("camera"), recovers("camera", "plug", rows=150)),
        lost={"camera": NOTHING},
    ),
    Scenario(
        "picamera-drops",
        "Of pictures that are damaged or lost at random, the recording has the camera's own count.",
        (
            *(plug("camera"), records("camera"), fault("camera", spoil)),
            records("camera", rows=300),
            fault("camera", spare),
            records("camera"),
        ),
        # Behind some damaged ones libcamera keeps all for more than a second, which is a silence.
        lost={"camera": {"lost_source": SOME, "lost_absent": (0, 40)}},
        # And the kernel then has one buffer left, and none for the next: 1 of 354 in one of 3 runs.
        shows=functools.partial(agrees, most_unbuffered=4),
    ),
    Scenario(
        "picamera-stall",
        "A camera that gives nothing and says nothing costs a process, and the next one records.",
        (
            *(plug("camera"), records("camera")),
            fault("camera", lambda camera: camera.usb.stall(6)),
            *(pause(6), over, recovers("camera", "stall")),
        ),
        lost={"camera": {"lost_absent": SOME, "lost_source": (0, 100)}},
        shows=has_ended_its_process,
    ),
    Scenario(
        "picamera-replug",
        "A camera that is pulled while it streams costs a process, and is found when it is back.",
        (
            *(plug("camera"), records("camera"), pull("camera"), pause(2)),
            *(plug("camera"), recovers("camera", "plug")),
        ),
        lost={"camera": {"lost_absent": SOME, "lost_broken": (0, 1)}},
        shows=has_ended_its_process,
    ),
)
