"""Scenarios of the box's input lines: pins of a real GPIO chip of the kernel, on a USB adapter."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from hil.scenarios.bench import RUN_DIR
from hil.scenarios.of_upload import SETTINGS_LIVE
from hil.scenarios.scenario import Scenario, Step, command, plug, records
from hil.usb.ljca import Ljca, Pin
from hil.vm.ready import SETTINGS
from recorder.session.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hil.scenarios.bench import Bench
    from hil.scenarios.recording import Recording

CHIP = "/dev/gpiochip0"
IGNITION, BUTTON, LOW = range(3)
#: The port that the adapter goes into.
PINS = "camera"
#: A press, far shorter than the spool's half a second between two looks.
PRESS_S = 0.05
MARKS = f"""[[rules]]
do = "mark"
line = "{CHIP}:{BUTTON}"
active_low = true
label = "button"
"""
#: The upload's server never comes: the box waits for it, until the ignition is on again.
POWER = f"""[power]
ignition = "{CHIP}:{IGNITION}"
off_for_s = 1.0
"""
SUPPLY = f"""[power]
low = "{CHIP}:{LOW}"
low_active_low = true
low_for_s = 1.0
"""
#: What docs/sessions.md tells the owner of a button to write.
DROP_IN = """[Service]
PrivateDevices=no
DevicePolicy=closed
DeviceAllow=char-gpiochip rw
SupplementaryGroups=gpio
"""
#: A box that is off nobody on the bench switches on: the same way down, and up again.
REBOOTS = "[Unit]\nSuccessAction=reboot\n"
SIGN = f"{RUN_DIR}/status/power.json"
#: What the supply's process says until the end, kept where the next boot finds it.
HEARD = "/var/lib/last-words"
FOLLOW = f"journalctl -f -o short-monotonic -u recorder-power > {HEARD}"
DURABLE = "what was recorded is durable"
ROWS, PARKED_ROWS = 300, 200
_STAMP = re.compile(r"\[ *([0-9.]+)\]")


class Pins:
    """Inputs that are high: the ignition is on, no button pressed, the supply good."""

    def __init__(self) -> None:
        self.usb = Ljca({}, pins=3)
        for pin in self.usb.pins:
            pin.is_high = True

    def tells(self) -> list[str]:
        """Nothing beside what the scenario tells."""
        return []

    def close(self) -> None:
        """Watch nothing any more."""
        self.usb.unplugged()


def drop_in(unit: str, text: str) -> Step:
    """Add to a unit, as the box's owner would, and have it start with that."""

    def step(bench: Bench) -> None:
        bench.machine.run(f"mkdir -p /etc/systemd/system/{unit}.service.d")
        bench.machine.put(text, f"/etc/systemd/system/{unit}.service.d/bench.conf")
        bench.machine.run("systemctl daemon-reload")

    return step


def has_line(unit: str) -> Step:
    """Wait until a unit's process has its pin from the kernel."""
    return command(
        f"until ls -l /proc/$(systemctl show -P MainPID {unit})/fd | grep -q gpio-line;"
        " do sleep 0.2; done"
    )


def pin(bench: Bench, number: int) -> Pin:
    """Return one of the pins."""
    adapter: Ljca = bench.sensors[PINS].usb
    return adapter.pins[number]


def since(bench: Bench) -> Callable[[float], str]:
    """Return what tells how long after this moment something was, by the machine's own clock."""
    before_s = time.monotonic()
    up_s = float(bench.machine.run("cut -d ' ' -f 1 /proc/uptime"))
    now_s = time.monotonic()
    # The answer is from between the two, by half of what it took.
    doubt_s = (now_s - before_s) / 2
    begun_s = up_s + doubt_s
    return lambda stamp_s: f"{stamp_s - begun_s:.2f} ± {doubt_s:.2f} s"


def says(bench: Bench, unit: str, words: str) -> float:
    """Wait until a unit's journal has some words; return when the last were, since the boot."""
    journal = f"journalctl --no-pager -o short-monotonic -b -u {unit}"
    return stamp_s(bench.machine.until(f"{journal} | grep '{words}'").splitlines()[-1])


def stamp_s(line: str) -> float:
    """Return the time of a line of the journal, in s since the boot."""
    found = _STAMP.match(line)
    assert found is not None, line
    return float(found[1])


def press(bench: Bench) -> None:
    """Press the button for a moment, and wait until that is in the recording."""
    after = since(bench)
    pin(bench, BUTTON).is_high = False
    time.sleep(PRESS_S)
    pin(bench, BUTTON).is_high = True
    at_s = says(bench, "recorder-spool", f"rule {CHIP}:{BUTTON} active: mark")
    bench.told.append(f"pin to durable mark {after(at_s)}")


def was_marked(recording: Recording, _: Bench) -> None:
    """The press is a mark of the session, once, amid its rows, and it says where it came from."""
    session = recording.session(recording.session_ids[-1])
    (mark,) = recording.marks(session.id)
    assert (mark["label"], mark["cause"]) == ("button", f"rule: {CHIP}:{BUTTON} active")
    begin_ns, end_ns = session.span_boot_ns
    assert begin_ns < mark["boot_ns"] < end_ns


def ignition_off(bench: Bench) -> None:
    """Switch the ignition off, and wait until the recording is over."""
    after = since(bench)
    pin(bench, IGNITION).is_high = False
    bench.told.append(f"off to durable {after(says(bench, 'recorder-power', DURABLE))}, 1 s of it")
    bench.machine.until(f'grep -q \'"state": "uploading"\' {SIGN}')


def ignition_on(bench: Bench) -> None:
    """Switch it on again, and wait until a recording has begun."""
    after = since(bench)
    pin(bench, IGNITION).is_high = True
    bench.told.append(f"on again after {after(says(bench, 'recorder-power', 'ignition on'))}")
    bench.machine.until(f'grep -q \'"state": "on"\' {SIGN}')


def has_two_journeys(recording: Recording, _: Bench) -> None:
    """One recording ended with the ignition, another began with it; between them is nothing."""
    first, second = (recording.session(one) for one in recording.session_ids[-2:])
    assert (first.recording, first.end_reason) == ("stopped", "shutdown")
    assert first.boot_id == second.boot_id
    last, begun = recording.rows("imu", first.id)[-1], recording.rows("imu", second.id)[0]
    assert begun.seqno > last.seqno + PARKED_ROWS


def supply_low(bench: Bench) -> None:
    """Let the supply fail; the box ends its recording, goes off by itself, and comes back."""
    machine, after = bench.machine, since(bench)
    pin(bench, LOW).is_high = False
    up_s = machine.crash(FOLLOW)
    pin(bench, LOW).is_high = True  # long before the recorder looks at it again
    heard = machine.run(f"cat {HEARD}").splitlines()
    why = next(one for one in heard if "the supply is low" in one)
    durable = next(one for one in heard if DURABLE in one)
    bench.told.append(f"low to noticed {after(stamp_s(why))}, 1 s of it")
    bench.told.append(f"low to durable {after(stamp_s(durable))}")
    bench.told.append(f"down and up again in {up_s:.0f} s")


def ended_well(recording: Recording, _: Bench) -> None:
    """The recording was ended, not lost with the supply; the next boot has one of its own."""
    ended, own = (recording.session(one) for one in recording.session_ids[-2:])
    assert (ended.state, ended.end_reason) == (State.closed, "shutdown")
    assert ended.boot_id != own.boot_id
    assert len(recording.rows("imu", ended.id)) >= ROWS


def scenario(name: str, words: str, steps: Sequence[Step], **more: Any) -> Scenario:
    """Return a scenario with an IMU that records, and the pins."""
    lost = more.pop("lost", {})
    return Scenario(
        name,
        words,
        (plug(PINS, "imu"), *steps),
        lost={"imu": lost},
        sensors={PINS: lambda _: Pins()},
        **more,
    )


SCENARIOS = (
    scenario(
        "pin-button",
        "A press of 50 ms on a real GPIO is a mark in the recording, whenever anybody looks.",
        (
            *(drop_in("recorder-spool", DROP_IN), command("systemctl restart recorder-spool")),
            *(has_line("recorder-spool"), records("imu", rows=ROWS), press),
            records("imu", rows=ROWS),
        ),
        settings=SETTINGS + MARKS,
        shows=was_marked,
        is_short=True,
    ),
    scenario(
        "pin-low-voltage",
        "A supply that fails ends the recording, durably, and then switches the box off.",
        (
            *(drop_in("recorder-power-off", REBOOTS), has_line("recorder-power")),
            *(records("imu", rows=ROWS), supply_low, records("imu", rows=ROWS)),
        ),
        lost={"lost_absent": (0, 1000), "lost_source": (0, 10_000)},
        settings=SETTINGS + SUPPLY,
        shows=ended_well,
        power_on=("-action", "reboot=reset"),
    ),
    scenario(
        "pin-ignition",
        "The recording ends with the ignition, durably, and another begins with it.",
        (
            *(has_line("recorder-power"), records("imu", rows=ROWS), ignition_off),
            *(records("imu", rows=PARKED_ROWS), ignition_on, records("imu", rows=ROWS)),
        ),
        settings=SETTINGS_LIVE + POWER,
        shows=has_two_journeys,
    ),
)
