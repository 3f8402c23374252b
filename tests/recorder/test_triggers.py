"""Rules: when they hold, and what the spool's process then does by itself."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from drivers.base import Field
from recorder import gpio
from recorder.clock import boot_ns
from recorder.config import Rule, from_json, to_json
from recorder.errors import RecorderError
from recorder.orders import answer
from recorder.ring import RingReader
from recorder.rules import Newest, Trigger
from recorder.spool.spool import Spool
from recorder.spooler import Spooler
from tests.recorder.building import Machine, Producer, lane_numbers, machine, schema, wait_until

S = 1_000_000_000
PRINT = r"""
#include <linux/gpio.h>
#include <stddef.h>
#include <stdio.h>
#define R struct gpio_v2_line_request
int main(void) {
  printf("%lu %lu %zu %zu %zu %zu %zu %zu %zu %zu %zu %lu %lu %lu\n",
    (unsigned long)GPIO_V2_GET_LINE_IOCTL, (unsigned long)GPIO_V2_LINE_GET_VALUES_IOCTL,
    sizeof(R), sizeof(struct gpio_v2_line_values), sizeof(struct gpio_v2_line_event),
    offsetof(R, consumer), offsetof(R, config.flags), offsetof(R, num_lines),
    offsetof(R, event_buffer_size), offsetof(R, fd), offsetof(R, config.num_attrs),
    (unsigned long)GPIO_V2_LINE_FLAG_ACTIVE_LOW, (unsigned long)GPIO_V2_LINE_FLAG_INPUT,
    (unsigned long)GPIO_V2_LINE_FLAG_EDGE_RISING);
  return 0;
}
"""


@pytest.mark.skipif(
    not (shutil.which("cc") and Path("/usr/include/linux/gpio.h").exists()),
    reason="needs a C compiler and the kernel's headers",
)
def test_what_the_kernel_is_asked_has_the_layout_of_its_own_header(tmp_path: Path) -> None:
    (tmp_path / "layout.c").write_text(PRINT)
    subprocess.run(["cc", "layout.c", "-o", "layout"], cwd=tmp_path, check=True, timeout=60)
    told = subprocess.run(["./layout"], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    raw = gpio._request(7, 9)
    at = [raw.index(b"recorder"), raw.index(struct.pack("=Q", 9), 256)]
    at += [raw.index(struct.pack("=II", 1, 16)), raw.index(struct.pack("=I", 16), 561)]
    at.append(raw.index(struct.pack("=i", -1)))
    assert struct.unpack_from("=I", raw) == (7,)
    assert [int(one) for one in told.stdout.split()] == [
        gpio._GET_LINE, gpio._GET_VALUES, len(raw), gpio._VALUES.size, gpio._EVENT.size,
        *at, at[1] + 8, gpio._ACTIVE_LOW, gpio._INPUT, gpio._EDGE_RISING,
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "active"), [("1\n", True), ("0\n", False), ("17", True)])
def test_a_file_is_a_line(tmp_path: Path, text: str, active: bool) -> None:
    path = tmp_path / "value"
    path.write_text(text)
    assert gpio.open_line(f"file:{path}").read() is active
    assert gpio.open_line(f"file:{path}", active_low=True).read() is not active


@pytest.mark.timeout(20)  # who opens a pipe waits for its writer for ever
@pytest.mark.parametrize("active_low", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_a_file_that_would_hold_up_the_commit_is_said_once_and_is_not_active(
    tmp_path: Path, kind: str, active_low: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "line"
    with contextlib.ExitStack() as opened:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            opened.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
        else:
            path.mkdir()
        watched = Trigger(Rule(do="mark", line=f"file:{path}", active_low=active_low), boot_ns())
        newest = Newest([])
        assert not any(watched.look(newest, boot_ns()) for _ in range(3))
        assert [str(path) in one.message for one in caplog.records] == [True]
    path.rmdir() if kind == "folder" else path.unlink()
    path.write_text(f"{0 if active_low else 1}\n")
    assert watched.look(newest, boot_ns())


def test_a_character_device_is_a_line_and_needs_no_end() -> None:
    controller, device = os.openpty()
    try:
        line = gpio.open_line(f"file:{os.ttyname(device)}")
        with pytest.raises(BlockingIOError):
            line.read()
        os.write(controller, b"1\n")
        assert line.read()
    finally:
        os.close(controller)
        os.close(device)
    assert gpio.open_line("file:/dev/zero").read()
    with pytest.raises(OSError, match="holds no number"):
        gpio.open_line("file:/dev/null").read()


@pytest.mark.parametrize("spec", ["", "17", "gpiochip0:17", "/dev/gpiochip0", "file:relative"])
def test_a_line_that_is_named_otherwise_is_refused(spec: str) -> None:
    with pytest.raises(RecorderError, match=re.escape("'/dev/gpiochip0:17' or 'file:/path'")):
        gpio.open_line(spec)


def test_a_chip_that_is_none_is_said_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - of the kernel, and only counted
    with pytest.raises(FileNotFoundError):
        gpio.open_line("/dev/no-such-chip:3")
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        gpio.open_line("/dev/null:3")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


FIELDS = (
    Field("utc_ns", "<i8", "ns", null=-1),
    Field("velocity.x", ">i2", "m/s", scale=0.5, offset=1.0, null=-(2**15)),
    Field("hdop", "<f4", "1"),
)
ROW = struct.Struct("<q")


def row(raw: int, hdop: float = 1.0) -> bytes:
    return struct.pack("<q", -1) + struct.pack(">h", raw) + struct.pack("<f", hdop)


@pytest.fixture
def gps(tmp_path: Path) -> Any:
    lane = schema("gps", fields=FIELDS)
    producer = Producer(tmp_path, lane, 65_536)
    reader = RingReader(producer.ring.path)
    yield producer, reader
    reader.close()
    producer.close()


def taken(reader: RingReader, newest: Newest) -> None:
    for _ in reader.records():
        pass
    newest.look(reader)
    reader.free(reader.position)


def test_the_newest_row_of_a_lane_gives_its_values_in_their_units(gps: Any) -> None:
    producer, reader = gps
    newest = Newest(["gps"])
    now = boot_ns()
    assert newest.value("gps", "velocity.x", now) is None
    # Round the ring's end several times, rows of a burst, and of several records of one look.
    for raw in range(400):
        producer.put(3, [row(0), row(0), row(raw)])
        if raw % 3 == 0:
            producer.event("nothing with rows")
        if raw % 5 == 0:
            taken(reader, newest)
            assert newest.value("gps", "velocity.x", boot_ns()) == raw * 0.5 + 1.0
            assert newest.value("gps", "utc_ns", boot_ns()) is None
            assert newest.value("gps", "hdop", boot_ns()) == 1.0
            assert newest.value("gps", "no.such", boot_ns()) is None
    producer.put(1, [row(-(2**15), float("nan"))])
    taken(reader, newest)
    assert newest.value("gps", "velocity.x", boot_ns()) is None
    assert newest.value("gps", "hdop", boot_ns()) is None
    producer.put(1, [row(8)])
    taken(reader, newest)
    heard = newest.heard_boot_ns("gps")
    assert newest.value("gps", "velocity.x", heard + 4 * S) == 5.0
    assert newest.value("gps", "velocity.x", heard + 6 * S) is None


def looked(rule: Rule, newest: Newest, *instants: int) -> list[tuple[bool, bool]]:
    one = Trigger(rule, 0)
    return [(one.look(newest, at), one.holds) for at in instants]


def test_a_rule_begins_when_it_held_long_enough_and_ends_when_it_is_over_long_enough(
    tmp_path: Path,
) -> None:
    flag = tmp_path / "flag"
    rule = Rule(do="mark", present=str(flag), for_s=2, keep_s=3)
    one, newest = Trigger(rule, 0), Newest([])
    there = [0, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0]
    told = []
    for second, is_there in enumerate(there):
        flag.touch() if is_there else flag.unlink(missing_ok=True)
        told.append((one.look(newest, second * S), one.holds))
    assert [began for began, _ in told].count(True) == 1
    assert [at for at, (began, _) in enumerate(told) if began] == [6]
    assert [at for at, (_, holds) in enumerate(told) if holds] == [6, 7, 8, 9, 10, 11, 12, 13]


@pytest.mark.parametrize(
    ("above", "below", "raw", "holds"),
    [
        (5.0, None, 9, True), (5.0, None, 8, False), (None, 0.0, -3, True), (5.0, 0.0, 1, False),
        (5.0, 0.0, 9, True), (5.0, 0.0, -3, True), (5.0, None, -(2**15), False),
    ],
)  # fmt: skip
def test_a_value_holds_beyond_either_bound(
    gps: Any, above: float | None, below: float | None, raw: int, holds: bool
) -> None:
    producer, reader = gps
    newest = Newest(["gps"])
    producer.put(1, [row(raw)])
    taken(reader, newest)
    rule = Rule(do="mark", lane="gps", field="velocity.x", above=above, below=below)
    assert looked(rule, newest, boot_ns()) == [(holds, holds)]


def test_a_lane_is_silent_when_it_gave_nothing_for_so_long(gps: Any) -> None:
    producer, reader = gps
    newest = Newest(["gps"])
    producer.put(1, [row(1)])
    taken(reader, newest)
    heard = newest.heard_boot_ns("gps")
    rule = Rule(do="mark", lane="gps", silent_s=2)
    told = looked(rule, newest, heard + S, heard + 3 * S, heard + 4 * S)
    assert told == [(False, False), (True, True), (False, True)]
    never = Rule(do="mark", lane="camera", silent_s=2)
    assert looked(never, newest, S, 3 * S) == [(False, False), (True, True)]


def test_rules_travel_to_the_processes(tmp_path: Path) -> None:
    one = Machine(tmp_path).config
    config = dataclasses.replace(one, rules=[Rule(do="new", line="file:/x", active_low=True)])
    assert from_json(to_json(config)) == config


class Yard:
    """A spool's process with rules, and a lane, both without a process of their own."""

    def __init__(self, directory: Path, *rules: Rule) -> None:
        self.config = dataclasses.replace(Machine(directory).config, rules=list(rules))
        self.line = directory / "ignition"
        self.line.write_text("0")
        self.spooler = Spooler(self.config)
        self.producer = Producer(self.config.rings_dir, schema())
        self.put = 0

    def turn(self, samples: int = 5) -> None:
        """One turn of the process's loop."""
        if samples:
            self.producer.put(samples)
        self.spooler.commit()
        self.spooler._triggers.act(self.spooler)
        self.spooler._sign()

    @property
    def ends(self) -> list[tuple[str | None, str]]:
        spool = Spool(self.config.spool_dir)
        found = [spool.session(one) for one in spool.session_ids()]
        return [(one.end_reason, one.predecessor) for one in found]

    def close(self) -> None:
        self.spooler.close()
        self.producer.close()


@pytest.fixture
def yard(tmp_path: Path) -> Any:
    made: list[Yard] = []

    def make(*rules: Rule) -> Yard:
        made.append(Yard(tmp_path, *rules))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_ignition_begins_and_ends_recordings_of_one_boot(tmp_path: Path, yard: Any) -> None:
    one = yard(Rule(do="record", line=f"file:{tmp_path}/ignition"))
    one.spooler._triggers._settled_ns = 0
    one.turn()
    assert one.spooler.recording is None
    assert one.ends == []
    for _ in range(3):
        one.line.write_text("1")
        one.turn()  # what came before it was recorded belongs to nobody
        begun = one.producer.ring.state.seqno
        one.turn()
        one.turn()
        assert one.spooler.recording is not None
        one.line.write_text("0")
        one.turn()
        assert one.spooler.recording is None
        session = Spool(one.config.spool_dir).session_ids()[-1]
        found = lane_numbers(one.config.spool_dir, "imu", session)
        assert found == list(range(begun, begun + 15))
    assert one.ends == [("rule", "")] * 3
    spool = Spool(one.config.spool_dir)
    for each in map(spool.session, spool.session_ids()):
        (account,) = each.lanes
        assert (each.state.name, account.expected, account.stored) == ("closed", 15, 15)
        assert account.imbalances() == []


def test_a_person_may_stop_what_a_rule_began_until_it_begins_anew(
    tmp_path: Path, yard: Any
) -> None:
    one = yard(Rule(do="record", line=f"file:{tmp_path}/ignition"))
    one.spooler._triggers._settled_ns = 0
    one.line.write_text("1")
    one.turn()
    answer(one.spooler, {"command": "stop"})
    one.turn()
    assert one.spooler.recording is None
    one.line.write_text("0")
    one.turn()
    one.line.write_text("1")
    one.turn()
    assert one.spooler.recording is not None


def test_a_rule_rolls_over_and_marks_with_its_cause(tmp_path: Path, yard: Any) -> None:
    line = f"file:{tmp_path}/ignition"
    one = yard(Rule(do="new", line=line), Rule(do="mark", line=line, label="key", before_s=1))
    one.turn()
    for _ in range(2):
        one.line.write_text("1")
        one.turn()
        one.turn()
        one.line.write_text("0")
        one.turn()
    spool = Spool(one.config.spool_dir)
    ids = spool.session_ids()
    assert one.ends == [("roll_over", ""), ("roll_over", ids[0]), (None, ids[1])]
    assert lane_numbers(one.config.spool_dir, "imu") == list(range(one.producer.ring.state.seqno))
    found = [each for one_id in ids for each in spool.entries(one_id) if each["entry"] == "mark"]
    marks = [each for each in found if "session" not in each]  # the others reach over from these
    assert len(found) == 3
    assert [(each["label"], each["cause"], each["before_s"]) for each in marks] == [
        ("key", f"rule: {line} active", 1)
    ] * 2


def test_a_recording_that_was_left_running_goes_on_until_the_rules_can_tell(
    tmp_path: Path, yard: Any
) -> None:
    rule = Rule(do="record", lane="imu", field="number", above=1e18)
    one = yard(rule)
    assert one.spooler.recording is None
    answer(one.spooler, {"command": "start"})
    one.turn()
    one.spooler.close()
    one.spooler = Spooler(one.config)
    one.turn()
    assert one.spooler.recording is not None
    wait_until(lambda: boot_ns() > one.spooler._triggers._settled_ns)
    one.turn()
    assert one.spooler.recording is None
    assert one.ends == [("rule", "")]


BLOW = Rule(do="mark", lane="imu", field="number", above=-1.0, label="blow")
AWAY = Rule(do="mark", lane="imu", silent_s=0.5, label="away")


def marked(one: Yard) -> list[str]:
    """Return the labels of all marks, without those that only reach over from a session before."""
    spool = Spool(one.config.spool_dir)
    found = [each for one_id in spool.session_ids() for each in spool.entries(one_id)]
    return [each["label"] for each in found if each["entry"] == "mark" and "session" not in each]


def anew(one: Yard, *, is_killed: bool) -> None:
    """End the process, or kill it, and begin the next one in the same boot."""
    if not is_killed:
        one.spooler.end("shutdown")
    one.spooler.close()
    one.spooler = Spooler(one.config)


@pytest.mark.parametrize("is_killed", [True, False])
def test_what_still_holds_when_the_process_starts_anew_is_no_second_event(
    tmp_path: Path, yard: Any, is_killed: bool
) -> None:
    lost = Rule(do="mark", present=str(tmp_path / "flag"), label="flag")
    one = yard(BLOW, AWAY, lost, Rule(do="new", present=str(tmp_path / "flag")))
    (tmp_path / "flag").touch()
    one.turn()
    wait_until(lambda: (one.turn(0), "away" in marked(one))[1])
    sessions = len(one.ends)
    assert sorted(marked(one)) == ["away", "blow", "flag"]
    anew(one, is_killed=is_killed)
    for _ in range(3):
        one.turn(0)  # no value so far: it cannot be told, and stays as it was
    anew(one, is_killed=True)
    begun = boot_ns()
    wait_until(lambda: (one.turn(0), boot_ns() > begun + S)[1])
    assert sorted(marked(one)) == ["away", "blow", "flag"]
    assert len(one.ends) == sessions + (not is_killed)
    one.turn(1)
    assert sorted(marked(one)) == ["away", "blow", "flag"]


def test_what_holds_again_after_it_was_over_is_marked_again_by_the_next_process(
    tmp_path: Path, yard: Any
) -> None:
    flag = tmp_path / "flag"
    one = yard(AWAY, Rule(do="mark", present=str(flag), label="flag"))
    flag.touch()
    wait_until(lambda: (one.turn(0), "away" in marked(one))[1])
    one.turn(1)
    flag.unlink()
    one.turn(1)
    anew(one, is_killed=True)
    flag.touch()
    wait_until(lambda: (one.turn(0), marked(one).count("away") == 2)[1])
    assert sorted(marked(one)) == ["away", "away", "flag", "flag"]


def test_a_commit_that_takes_a_minute_makes_no_lane_silent_and_no_value_old(
    tmp_path: Path, yard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = yard(AWAY, Rule(do="record", lane="imu", field="number", above=-1.0))
    one.turn()
    assert one.spooler.recording is not None
    one.spooler._triggers._settled_ns = 0
    ahead_ns = [0]
    monkeypatch.setattr("recorder.triggers.boot_ns", lambda: boot_ns() + ahead_ns[0])
    commit = one.spooler.archive.commit

    def slowly() -> None:
        commit()
        ahead_ns[0] = 60 * S

    monkeypatch.setattr(one.spooler.archive, "commit", slowly)
    one.turn()
    assert ahead_ns == [60 * S]
    assert marked(one) == []
    assert one.spooler.recording is not None


def test_rules_of_another_boot_or_of_another_wording_hold_no_more(
    tmp_path: Path, yard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = tmp_path / "flag"
    one = yard(Rule(do="mark", present=str(flag), label="flag"))
    flag.touch()
    one.turn()
    changed = Rule(do="mark", present=str(flag), label="flag", keep_s=1.0)
    one.config = dataclasses.replace(one.config, rules=[changed])
    anew(one, is_killed=True)
    one.turn()
    assert marked(one) == ["flag"] * 2
    monkeypatch.setattr("recorder.triggers.boot_id", lambda: bytes(16))
    anew(one, is_killed=True)
    one.turn()
    assert marked(one) == ["flag"] * 3


def test_the_real_processes_record_while_a_line_is_active(tmp_path: Path) -> None:
    line = tmp_path / "ignition"
    line.write_text("0")
    with machine(tmp_path) as one:
        one.config = dataclasses.replace(one.config, rules=[Rule(do="record", line=f"file:{line}")])
        one.start("spool")
        one.start("lane")
        wait_until(lambda: one.sign("lane-imu").get("samples", 0) > 100)
        assert Spool(one.spool).session_ids() == []
        line.write_text("1")
        wait_until(lambda: one.stored() > 100)
        line.write_text("0")
        wait_until(lambda: one.sign("spool")["session"] is None)
        one.end("lane")
        assert one.end("spool") == 0
        spool = Spool(one.spool)
        (session_id,) = spool.session_ids()
        session = spool.session(session_id)
        assert (session.end_reason, session.state.name) == ("rule", "closed")
        numbers = lane_numbers(one.spool, "imu")
        assert numbers[0] > 100
        assert len(numbers) == session.lanes[0].stored > 100
        assert session.lanes[0].imbalances() == []
