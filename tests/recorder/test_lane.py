from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from drivers.base import (
    BadSampleError,
    Device,
    DeviceAbsentError,
    DeviceLostError,
    Driver,
    DriverError,
    Sample,
    StuckDeviceError,
)
from recorder import config, record, retry, status
from recorder.clock import boot_ns
from recorder.errors import ConfigError, RingError
from recorder.lane import Lane, main
from recorder.record import Anchor
from recorder.retry import Retry
from recorder.ring import RingReader
from recorder.ring_files import ReaderSet
from recorder.service import Notifier, Stop
from tests.recorder.building import FIELDS, numbers_in, rows

MS = 1_000_000
PAUSES_S = retry.PAUSES_S  # as they are, before a test shortens them
HANGING = threading.Event()


class Scripted(Driver):
    """A device that does what the test wrote down, and ends the lane when nothing is left."""

    kind = "scripted"
    ontology = "Numbered"
    fields = FIELDS
    rate_hz = 100.0
    rate_tolerance = 0.01
    script: ClassVar[list[Sample | DriverError | None]] = []
    absent: ClassVar[list[DriverError]] = []
    last: ClassVar[list[Sample]] = []
    stop: ClassVar[Stop]
    device_path: ClassVar[str] = ""
    before_open: ClassVar[list[Callable[[], object]]] = []
    opening: ClassVar[Callable[[Scripted], None]] = staticmethod(lambda _: None)
    opened: ClassVar[int] = 0
    closed: ClassVar[int] = 0

    def __init__(self, *, device: str = "") -> None:
        self.device = device or self.device_path

    def open(self) -> Device:
        for look in self.before_open:
            look()
        type(self).opening(self)
        if self.absent:
            raise self.absent.pop(0)
        type(self).opened += 1
        return Device(vendor="test", model="script", interface={"device": self.device})

    def read(self, timeout_s: float) -> Sample | None:
        assert timeout_s > 0
        if not self.script:
            self.stop.set()
            return None
        step = self.script.pop(0)
        if isinstance(step, DriverError):
            raise step
        return step

    def finish(self) -> Sequence[Sample]:
        return self.last

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture(autouse=True)
def fresh_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSES_S", (0.0,))
    Scripted.stop = Stop()
    for name in ("script", "absent", "last"):
        setattr(Scripted, name, [])
    Scripted.before_open = []
    Scripted.opening = staticmethod(lambda _: None)
    Scripted.device_path = ""
    Scripted.opened = Scripted.closed = 0


def settings(tmp_path: Path, **changes: Any) -> config.Config:
    one = config.Lane(name="imu", driver=f"{__name__}:Scripted", ring_bytes=65_536, **changes)
    return config.Config(lanes=[one], spool=config.Spool(run_dir=tmp_path))


def sample(number: int, **changes: Any) -> Sample:
    at_ns = START + number * 10 * MS
    return Sample(
        **{"boot_ns": at_ns, "rows": 1, "payload": [rows(number)], "counter": number, **changes}
    )


START = boot_ns() + 3_600_000_000_000  # in an hour: no silence is ever due before it


def run(tmp_path: Path) -> list[tuple[record.Header, bytes]]:
    """Run the lane through its script and return what is in its ring."""
    main(settings(tmp_path), Scripted.stop, "imu")
    return held(tmp_path)


def held(tmp_path: Path) -> list[tuple[record.Header, bytes]]:
    readers = ReaderSet(tmp_path / "rings")
    assert readers.look() == []
    found = [one for ring in readers for one in records(ring)]
    readers.close()
    return found


def records(ring: RingReader) -> list[tuple[record.Header, bytes]]:
    return [(header, b"".join(runs)[record.HEADER_BYTES :]) for header, runs in ring.records()]


def numbers(found: list[tuple[record.Header, bytes]]) -> list[int]:
    return [n for header, raw in found if header.kind == record.DATA for n in numbers_in(raw)]


def events(found: list[tuple[record.Header, bytes]]) -> list[str]:
    return [json.loads(raw)["event"] for header, raw in found if header.kind == record.EVENT]


@pytest.fixture
def pings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The life signs that the service manager heard; one is due every millisecond."""
    heard: list[str] = []

    class Told(Notifier):
        def ping(self, status: str) -> None:
            heard.append(status)

    monkeypatch.setattr("recorder.lane.SIGN_PERIOD_NS", MS)
    monkeypatch.setattr("recorder.lane.Notifier", Told)
    return heard


def test_an_open_that_takes_long_gives_life_signs_from_its_own_loop(
    tmp_path: Path, pings: list[str]
) -> None:
    def look_for_it(driver: Scripted) -> None:
        pings.clear()
        for _ in range(50):
            HANGING.wait(2 * MS / 1e9)
            driver.still_opening()
        assert len(pings) == 50

    Scripted.opening = look_for_it
    Scripted.script = [sample(0)]
    assert numbers(run(tmp_path)) == [0]


def test_an_open_that_hangs_gives_no_life_sign_and_is_left_to_the_watchdog(
    tmp_path: Path, pings: list[str]
) -> None:
    def hang(_: Scripted) -> None:
        pings.clear()
        HANGING.wait(100 * MS / 1e9)  # a hundred signs are due
        assert pings == []

    Scripted.opening = hang
    Scripted.script = [sample(0)]
    assert numbers(run(tmp_path)) == [0]


def test_a_lane_that_is_told_to_stop_does_not_look_for_its_device_any_further(
    tmp_path: Path,
) -> None:
    def look_for_it(driver: Scripted) -> None:
        driver.still_opening()
        Scripted.stop.set()
        driver.still_opening()
        raise AssertionError("it went on looking")

    Scripted.opening = look_for_it
    assert events(run(tmp_path)) == ["stopped"]


def test_samples_reach_the_ring_with_the_devices_facts_before_them(tmp_path: Path) -> None:
    Scripted.script = [sample(0), None, sample(1)]
    Scripted.last = [sample(2)]
    found = run(tmp_path)
    assert numbers(found) == [0, 1, 2]
    assert events(found) == ["opened", "stopped"]
    assert json.loads(found[0][1])["device"]["model"] == "script"
    assert found[-1][0].losses == record.Losses()
    assert [header.boot_ns for header, _ in found if header.rows] == [
        START + number * 10 * MS for number in range(3)
    ]


def test_an_absent_device_is_looked_for_until_it_comes(tmp_path: Path) -> None:
    Scripted.absent = [DeviceAbsentError("nothing at 0x68") for _ in range(4)]
    Scripted.script = [sample(0)]
    found = run(tmp_path)
    assert numbers(found) == [0]
    assert events(found) == ["lost", "opened", "stopped"]  # said once, not at each attempt
    assert Scripted.closed >= 5


def test_an_axis_that_stands_still_is_noted_in_the_recording_when_that_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.lane.SIGN_PERIOD_NS", 0)

    def measured(_: Scripted) -> dict[str, object]:
        return {"frozen": ["acceleration.x"] if len(Scripted.script) in (1, 2) else []}

    monkeypatch.setattr(Scripted, "measured", measured)
    Scripted.script = [sample(number) for number in range(3)]
    told = [json.loads(raw) for header, raw in run(tmp_path) if header.kind == record.EVENT]
    changes = [one["columns"] for one in told if one["event"] == "frozen"]
    assert changes == [["acceleration.x"], []]


def test_a_lost_device_is_opened_again_and_what_it_gave_meanwhile_was_absent(
    tmp_path: Path,
) -> None:
    Scripted.script = [sample(0), DeviceLostError("unplugged"), sample(5), sample(8)]
    found = run(tmp_path)
    assert numbers(found) == [0, 5, 8]
    assert Scripted.opened == 2
    assert found[-1][0].losses == record.Losses(source=2, absent=4)
    assert found[-1][0].expected == 9


def test_an_unreadable_sample_is_counted_and_reading_goes_on(tmp_path: Path) -> None:
    Scripted.script = [
        sample(0),
        BadSampleError("checksum", 2),
        BadSampleError("noise", 0),
        sample(3),
    ]
    found = run(tmp_path)
    assert numbers(found) == [0, 3]
    assert Scripted.opened == 1
    assert found[-1][0].losses == record.Losses(broken=2)


def test_a_time_of_day_travels_as_an_anchor_and_not_more_often_than_every_ten_seconds(
    tmp_path: Path,
) -> None:
    utc_ns = 1_700_000_000_000_000_000
    Scripted.script = [sample(n, utc_ns=utc_ns + n, utc_uncertainty_ns=50) for n in range(3)]
    found = run(tmp_path)
    anchors = [Anchor.unpack(raw) for header, raw in found if header.kind == record.ANCHOR]
    assert [(one.boot_ns, one.utc_ns, one.uncertainty_ns, one.source) for one in anchors] == [
        (START, utc_ns, 50, "gps")
    ]
    assert numbers(found) == [0, 1, 2]


def test_a_second_pulse_vouches_at_once_for_what_was_only_the_receivers_word(
    tmp_path: Path,
) -> None:
    pulse = {"utc_source": "pps", "utc_uncertainty_ns": 20}
    Scripted.script = [
        sample(0, utc_ns=1, utc_uncertainty_ns=50),
        sample(1, utc_ns=2, **pulse),
        sample(2, utc_ns=3, **pulse),
        sample(3, utc_ns=4, utc_uncertainty_ns=50),
    ]
    found = run(tmp_path)
    anchors = [Anchor.unpack(raw) for header, raw in found if header.kind == record.ANCHOR]
    assert [(one.utc_ns, one.uncertainty_ns, one.source) for one in anchors] == [
        (1, 50, "gps"),
        (2, 20, "pps"),
    ]


def test_the_next_process_goes_on_numbering_where_the_last_one_stopped(tmp_path: Path) -> None:
    Scripted.script = [sample(0), sample(1)]
    run(tmp_path)
    Scripted.stop = Stop()
    Scripted.script = [sample(4)]
    found = run(tmp_path)
    assert [header.seqno for header, _ in found if header.rows] == [0, 1, 2]
    assert found[-1][0].losses == record.Losses(absent=2)


def test_a_full_ring_never_stops_the_lane_and_counts_what_it_dropped(tmp_path: Path) -> None:
    Scripted.script = [sample(n) for n in range(700)]
    found = run(tmp_path)
    kept = numbers(found)
    assert kept == list(range(len(kept)))
    sign = status.read(tmp_path, "lane-imu")
    assert sign is not None
    assert sign["samples"] == 700
    assert sign["losses"]["ring"] == 700 - len(kept) > 0


def test_a_driver_that_breaks_in_its_own_way_ends_the_process_and_lets_go(tmp_path: Path) -> None:
    Scripted.script = [sample(0), "nonsense"]  # type: ignore[list-item] # the wrong thing on purpose
    with pytest.raises(AttributeError):
        run(tmp_path)
    Scripted.stop = Stop()
    Scripted.script = []
    assert numbers(run(tmp_path)) == [0]


def test_a_device_is_closed_at_once_when_it_is_lost(tmp_path: Path) -> None:
    Scripted.script = [sample(0), DeviceLostError("unplugged")]
    closed_at_reopen: list[int] = []
    Scripted.before_open = [lambda: closed_at_reopen.append(Scripted.closed)]
    run(tmp_path)
    assert closed_at_reopen == [0, 1]


def test_pauses_grow_while_a_device_only_opens_and_shrink_when_it_gives_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(retry, "PAUSES_S", (1.0, 2.0, 3.0))
    monkeypatch.setattr(Retry, "_pause", lambda self, stop, pause_s: paused.append(pause_s))
    lost = DeviceLostError("loose plug")
    Scripted.script = [lost, lost, lost, lost, sample(0), lost]
    assert events(run(tmp_path)).count("lost") == 2  # said once for each time that it was gone
    assert paused == [1.0, 2.0, 3.0, 3.0, 1.0]


def test_the_pauses_never_exceed_five_seconds() -> None:
    assert list(PAUSES_S) == sorted(PAUSES_S)
    assert PAUSES_S[-1] == 5.0


def test_a_device_that_appears_ends_the_pause_before_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "PAUSES_S", (300.0,))  # longer than this test may take
    node = tmp_path / "dev" / "imu"
    Scripted.device_path = str(node)
    Scripted.absent = [DeviceAbsentError("nothing there")]
    Scripted.script = [sample(0)]

    def appear() -> None:
        node.parent.mkdir()
        node.touch()

    plug = threading.Timer(0.3, appear)
    plug.start()
    found = run(tmp_path)
    plug.join()
    assert events(found) == ["lost", "opened", "stopped"]
    assert numbers(found) == [0]


def test_a_stuck_device_ends_the_lane_which_says_so(tmp_path: Path) -> None:
    Scripted.script = [sample(0), StuckDeviceError("no frame for 3 s"), sample(1)]
    one = Lane(settings(tmp_path), "imu")
    one.run(Scripted.stop)
    one.close()
    assert one.is_stuck
    assert not Scripted.stop.is_set()
    assert Scripted.opened == 1
    assert events(held(tmp_path)) == ["opened", "stuck"]
    sign = status.read(tmp_path, "lane-imu")
    assert sign is not None
    assert sign["state"] == "stuck: no frame for 3 s"


def test_two_processes_of_one_lane_do_not_meet(tmp_path: Path) -> None:
    first = Lane(settings(tmp_path), "imu")
    with pytest.raises(RingError, match="another process"):
        Lane(settings(tmp_path), "imu")
    first.close()
    first.close()


def test_an_option_that_the_driver_does_not_know_is_told_with_the_lane(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'imu'.*speed"):
        Lane(settings(tmp_path, options={"speed": 1}), "imu")


def test_rows_of_the_wrong_length_are_broken_and_never_stored(tmp_path: Path) -> None:
    short = sample(1, payload=[rows(1)[:-1]])
    Scripted.script = [sample(0), short, sample(2)]
    found = run(tmp_path)
    assert numbers(found) == [0, 2]
    assert found[-1][0].losses == record.Losses(broken=1)
    assert found[-1][0].expected == 3
