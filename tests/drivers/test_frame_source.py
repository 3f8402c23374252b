from __future__ import annotations

import time
import zlib

import pytest

from drivers.base import BadSampleError, DeviceAbsentError, DeviceLostError
from drivers.camera import ROW, FrameCounter, FrameGrid
from drivers.frame_source import FrameSource
from drivers.sim.pictures import Pictures, read_number
from tests.drivers.shooting import RATE_HZ, Bench, take
from tests.known import known


def source_of(bench: Bench) -> FrameSource:
    return FrameSource(device=bench.device, rate_hz=RATE_HZ)


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.stop()


def read_on(source: FrameSource, times: int) -> None:
    for _ in range(times):
        source.read(0.5)


def test_every_frame_arrives_as_it_was_made_and_shows_its_number(bench):
    with source_of(bench) as source:
        source.open()
        samples = [*take(source, 10), *source.finish()]
    log = bench.stop()
    assert [line["frame"] for line in log] == [sample.counter for sample in samples]
    for sample, line in zip(samples, log, strict=True):
        row, picture = sample.payload
        assert ROW.unpack(row)[:5] == (line["frame"], line["crc32"], 320, 240, True)
        assert (len(picture), zlib.crc32(picture)) == (line["bytes"], line["crc32"])
        assert read_number(bytes(picture)) == sample.counter
        assert (sample.boot_ns, sample.rows, sample.period_ns) == (line["boot_ns"], 1, 0)
        assert line["sent"]


def test_frames_keep_to_their_grid_of_time(bench):
    with source_of(bench) as source:
        source.open()
        samples = take(source, 5)
    first = samples[0]
    for sample in samples:
        steps = known(sample.counter) - known(first.counter)
        assert sample.boot_ns - first.boot_ns == steps * 1_000_000_000 // RATE_HZ


def test_frames_that_the_camera_drops_show_in_the_counter(bench):
    with source_of(bench) as source:
        source.open()
        before = take(source, 3)
        bench.camera.fault("drop", n=4)
        after = [*take(source, 4), *source.finish()]
    numbers = [known(sample.counter) for sample in before + after]
    missing = sorted(set(range(numbers[-1] + 1)) - set(numbers))
    assert len(missing) == 4
    assert [line["frame"] for line in bench.stop() if not line["sent"]] == missing
    assert ROW.unpack(after[-1].payload[0])[-3:] == (4, 0, 0)  # lost before the last, by the sensor


def test_frames_that_a_slow_reader_does_not_take_are_dropped_and_show_in_the_counter(bench):
    with source_of(bench) as source:
        source.open()
        take(source, 1)
        time.sleep(1.2)
        samples = [*take(source, 12), *source.finish()]
    received = [sample.counter for sample in samples]
    log = bench.stop()
    dropped = [line["frame"] for line in log if not line["sent"]]
    assert dropped
    assert sorted(received + dropped) == [line["frame"] for line in log][1:]


def test_a_picture_cut_short_is_refused_and_reading_goes_on(bench):
    with source_of(bench) as source:
        source.open()
        bench.camera.fault("garbage", n=1)
        with pytest.raises(BadSampleError, match="no whole JPEG") as error:
            read_on(source, 20)
        assert error.value.samples == 1
        assert take(source, 1)


def test_a_second_process_goes_on_with_the_numbers_of_a_stream_that_runs(bench):
    dead = source_of(bench)
    dead.open()
    before = take(dead, 3)
    dead.close()  # as a killed process: the stream was not ended
    time.sleep(0.2)
    with source_of(bench) as source:
        source.open()
        after = [*take(source, 3), *source.finish()]
    last, first, end = (known(one.counter) for one in (before[-1], after[0], after[-1]))
    assert first > last + 1
    step_ns = after[0].boot_ns - before[-1].boot_ns
    assert step_ns == (first - last) * 1_000_000_000 // RATE_HZ
    assert [line["frame"] for line in bench.stop()] == list(range(end + 1))


def test_a_stall_is_silence_and_not_an_error_and_shows_in_the_counter(bench):
    with source_of(bench) as source:
        source.open()
        before = take(source, 1)
        bench.camera.fault("stall", seconds=0.6)
        while (sample := source.read(0.2)) is not None:  # what was on its way
            before.append(sample)
        after = [*take(source, 1), *source.finish()]
    missing = set(range(known(before[-1].counter) + 1, known(after[0].counter)))
    assert len(missing) > 5
    assert {line["frame"] for line in bench.stop() if not line["sent"]} == missing


def test_a_camera_that_hangs_up_is_lost(tmp_path):
    bench = Bench(tmp_path)
    with source_of(bench) as source:
        source.open()
        take(source, 1)
        bench.stop()
        with pytest.raises(DeviceLostError, match="hung up"):
            take(source, 1000)
        with pytest.raises(DeviceLostError):
            source.finish()


def test_no_camera_is_absent_and_named(tmp_path):
    with (
        FrameSource(device=f"unix:{tmp_path}/none") as source,
        pytest.raises(DeviceAbsentError, match=f"{tmp_path}/none"),
    ):
        source.open()


def test_a_device_that_is_no_socket_is_refused():
    with pytest.raises(ValueError, match="allowed is unix:PATH"):
        FrameSource(device="/dev/video0")


def test_closing_twice_and_before_opening_is_fine(tmp_path):
    source = FrameSource(device=f"unix:{tmp_path}/none")
    source.close()
    source.close()
    with pytest.raises(DeviceLostError, match="not open"):
        source.read(0)


@pytest.mark.parametrize("number", [0, 1, 0x5555_5555, 0xFFFF_FFFF, 2**32 + 7])
def test_the_blocks_of_a_picture_decode_to_its_number(number):
    picture = Pictures(640, 480).draw(number, 1.5)
    assert read_number(picture) == number % 2**32
    assert 15_000 < len(picture) < 45_000


def test_a_driver_that_begins_to_count_anew_loses_nothing_by_that():
    counter = FrameCounter()
    counts = (0, 1, 2, 2, 3, 0, 1, 5)
    assert [counter.number(one) for one in counts] == [0, 1, 2, 3, 4, 5, 6, 10]


def test_a_count_of_32_bits_goes_on_behind_its_end():
    counter = FrameCounter()
    first = [counter.number(one) for one in (0x7FFF_FFFF, 0xFFFF_FFFE)]
    assert [counter.number(one) for one in (0, 1)] == [first[1] + 2, first[1] + 3]


def test_frames_without_a_number_are_numbered_by_the_sensors_grid():
    grid = FrameGrid(100e6)
    times_ms = [5, 105, 206, 304, 604, 605, 1104]
    assert [grid.number(ms * 1_000_000) for ms in times_ms] == [0, 1, 2, 3, 6, 7, 12]
