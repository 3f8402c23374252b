"""A lane that another lane's process fills: a receiver's raw sentences beside its fixes."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from drivers.base import DeviceAbsentError
from drivers.nmea_gps import text
from drivers.sim.nmea_render import Fix, render
from drivers.sim.receiver import Receiver
from recorder import config, record, status
from recorder.beside import EventLane
from recorder.clock import Mapping, boot_ns
from recorder.columns import batches
from recorder.configfile import load
from recorder.devices import make_driver
from recorder.errors import ConfigError, RingError
from recorder.export.tables import CsvTable
from recorder.lane import main
from recorder.lane_state import LaneState
from recorder.ring import RingReader
from recorder.ring_files import ReaderSet, hold
from recorder.schema import LaneSchema
from recorder.service import Stop

START_NS = 1_750_507_195_000_000_000
PERIOD_NS = 100_000_000
EPOCHS = 12
TABLE = '[[lanes]]\nname = "{name}"\ndriver = "nmea_gps"\ndevice = "{device}"\nbaud = 115200\n'
REST = '[spool]\ndirectory = "data"\nrun_dir = "run"\n[upload]\nmode = "off"\n'


def configured(folder: Path, *tables: str) -> config.Config:
    file = folder / "recorder.toml"
    file.write_text("".join(tables) + REST)
    return load(file)


def gps(folder: Path, more: str = "raw = true\n", name: str = "gps") -> str:
    return TABLE.format(name=name, device=folder / f"dev-{name}") + more


def test_raw_gives_a_second_lane_that_counts_little_and_is_not_required(tmp_path: Path) -> None:
    own, raw = configured(tmp_path, gps(tmp_path, "raw = true\npriority = 7\n")).lanes
    assert (own.name, own.filled_by) == ("gps", "")
    assert (raw.name, raw.filled_by, raw.required, raw.priority) == ("gps-raw", "gps", False, 7)
    assert raw.weight == 0.01
    schema = LaneSchema.of(raw.name, make_driver(raw))
    assert (schema.driver, schema.ontology, schema.blob) == ("nmea_raw", "NMEASentence", "nmea")
    assert (schema.rate_hz, schema.period_ns, schema.row_bytes) == (0, 0, 0)


def test_without_raw_there_is_one_lane(tmp_path: Path) -> None:
    assert [one.name for one in configured(tmp_path, gps(tmp_path, "")).lanes] == ["gps"]


def test_the_processes_know_the_second_lane_by_the_resolved_settings(tmp_path: Path) -> None:
    resolved = configured(tmp_path, gps(tmp_path))
    assert config.from_json(config.to_json(resolved)) == resolved


def test_a_lane_of_the_second_ones_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"found \"gps-raw\"; lanes\[1\] has the same name"):
        configured(tmp_path, gps(tmp_path), gps(tmp_path, "", name="gps-raw"))


def test_who_fills_a_lane_is_no_key_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lanes\[0\].filled_by .*unknown key"):
        configured(tmp_path, gps(tmp_path, 'filled_by = "imu"\n'))


def test_it_has_no_device_of_its_own() -> None:
    lane = EventLane(kind="nmea_raw", ontology="NMEASentence", blob="nmea")
    with lane, pytest.raises(DeviceAbsentError, match="the lane that fills it"):
        lane.open()


def test_what_is_no_ascii_in_a_line_is_spelled_out() -> None:
    assert text(b"$GP\xff\x00,1") == b"$GP\\xff\x00,1"


@pytest.fixture
def recorded(tmp_path: Path):
    """Both rings of a lane that read a receiver, and what the receiver says that it sent."""
    fixes = [Fix(START_NS + n * PERIOD_NS, 47.5, 11.25, 500.0, 3.0, 90.0) for n in range(EPOCHS)]
    source = [(one.utc_ns, one.utc_ns - START_NS, render(one)) for one in fixes]
    log = tmp_path / "gps.jsonl"
    receiver = Receiver(source, tmp_path / "dev-gps", log)
    receiver.fault("flip")
    over, stop = threading.Event(), Stop()
    settings = configured(tmp_path, gps(tmp_path))
    threads = [
        threading.Thread(target=receiver.run, args=(over,)),
        threading.Thread(target=main, args=(settings, stop, "gps")),
    ]
    for thread in threads:
        thread.start()
    deadline_ns = boot_ns() + 20_000_000_000
    while not log.exists() or log.read_text().count("\n") < EPOCHS:
        assert boot_ns() < deadline_ns
        over.wait(0.01)
    sign = None
    while not sign or sign["samples"] < 4 * EPOCHS:
        assert boot_ns() < deadline_ns
        over.wait(0.05)
        sign = status.read(settings.spool.run_dir, "lane-gps-raw")
    stop.set()
    threads[1].join(20)
    over.set()
    threads[0].join(20)
    readers = ReaderSet(settings.rings_dir)
    assert readers.look() == []
    yield (
        {ring.schema.lane: ring for ring in readers},
        [json.loads(line) for line in log.read_text().splitlines()],
    )
    readers.close()


def rows(ring: RingReader) -> list[tuple[record.Header, bytes]]:
    found = [(head, b"".join(runs)[record.HEADER_BYTES :]) for head, runs in ring.records()]
    return [(head, payload) for head, payload in found if head.kind == record.DATA]


def test_every_line_is_in_the_second_ring_as_it_came_and_none_is_lost(recorded) -> None:
    rings, log = recorded
    sent = [line for epoch in log for line in epoch["lines"]]
    found = rows(rings["gps-raw"])
    lines = [payload.decode() for _, payload in found]
    assert len(lines) == len(sent)
    # The one with a wrong bit is kept as it came.
    assert [a != b for a, b in zip(lines, sent, strict=True)].count(True) == 1
    assert [head.seqno for head, _ in found] == list(range(len(sent)))
    state: LaneState = rings["gps-raw"].head()
    assert (state.expected, state.losses) == (len(sent), record.Losses())
    assert state.ended_boot_ns > 0
    assert len(rows(rings["gps"])) == EPOCHS


def test_a_line_has_the_time_of_its_own_first_byte(recorded) -> None:
    rings, _ = recorded
    times_ns = [head.boot_ns for head, _ in rows(rings["gps-raw"])]
    assert times_ns == sorted(times_ns)
    begins = [head.boot_ns for head, _ in rows(rings["gps"])]
    # An epoch begins with its first line; the flipped one was refused and dates it all the same.
    assert set(begins) <= set(times_ns)


def test_lines_become_sentences_on_the_server_and_cells_of_a_table(recorded, tmp_path) -> None:
    rings, log = recorded
    ring = rings["gps-raw"]
    found = [(head, memoryview(payload)) for head, payload in rows(ring)]
    mapping = Mapping(((0, START_NS),), "gps", 0)
    (batch,) = batches(ring.schema, found, mapping)
    assert batch.schema.field("sentence").type == pa.string()
    assert batch.column("sentence").to_pylist() == [bytes(one).decode() for _, one in found]
    table = CsvTable(tmp_path / "gps-raw", ring.schema)
    table.write(batch)
    table.close()
    lines = table.path.read_text().splitlines()
    assert len(lines) == 1 + len(found)
    assert log[1]["lines"][0] in lines[5]


def test_one_process_alone_fills_it(tmp_path: Path, recorded) -> None:
    settings = configured(tmp_path, gps(tmp_path))
    lock = hold(settings.rings_dir, "gps-raw")
    with pytest.raises(RingError, match="gps-raw"):
        main(settings, Stop(), "gps")
    os.close(lock)
