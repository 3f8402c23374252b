from __future__ import annotations

import importlib.util
import math
import threading
import time
import zlib
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.base import (
    BadSampleError,
    DeviceAbsentError,
    DeviceLostError,
    StuckDeviceError,
    WrongDeviceError,
)
from drivers.bounded import call_within
from drivers.camera import ROW, UNKNOWN, Shot
from drivers.pi_camera import PiCamera
from drivers.picamera2_library import Library
from drivers.picamera2_setup import BUFFERS
from drivers.sim import picamera2_model
from drivers.stamp_clock import suspended_ns
from tests.drivers.shooting import RATE_HZ, SIZE, Bench, numbers, take
from tests.known import known
from tests.recorder.building import wait_until

KEY, EXPOSURE, GAIN, LENS, DURATION, SENSOR, LATE, ENCODER = range(4, 12)


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.stop()


def camera_of(bench: Bench, number: int = 0, **changes) -> PiCamera:
    width, height = SIZE
    wish = {"device": f"{bench.device}#{number}", "rate_hz": RATE_HZ}
    return PiCamera(**{**wish, "width": width, "height": height, **changes})


def row(sample) -> tuple[int, ...]:
    return ROW.unpack(sample.payload[0])


@pytest.mark.skipif(
    importlib.util.find_spec("picamera2") is not None, reason="picamera2 is installed here"
)
def test_without_its_library_the_camera_is_absent_and_the_text_says_what_to_install():
    with PiCamera() as camera, pytest.raises(DeviceAbsentError, match="apt install python3-picam"):
        camera.open()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"device": "/dev/video0"}, "allowed is a camera's number"),
        ({"width": 641}, "width is 641, allowed are even numbers"),
        ({"height": 481}, "height is 481"),
        ({"jpeg_quality": 0}, "jpeg_quality is 0, allowed are 1 to 100"),
        ({"rotation_deg": 90}, "rotation_deg is 90, allowed are 0 and 180"),
    ],
)
def test_what_no_camera_can_do_is_refused_before_anything_is_opened(wish, words):
    with pytest.raises(ValueError, match=words):
        PiCamera(**wish)


def test_closing_twice_and_before_opening_is_fine():
    camera = PiCamera()
    camera.close()
    camera.close()
    with pytest.raises(DeviceLostError, match="not open"):
        camera.read(0)


@pytest.mark.parametrize("number", [0, 1])
def test_every_frame_arrives_with_number_time_and_what_the_sensor_says(bench, number):
    with camera_of(bench, number) as camera:
        device = camera.open()
        samples = [*take(camera, 8), *camera.finish()]
        assert camera.measured()["stamp_clock"] == "monotonic"
    log = bench.stop()
    assert device.model == ("model", "model on USB")[number]
    assert numbers(samples) == list(range(len(samples)))
    for sample, line in zip(samples, log, strict=False):
        picture = sample.payload[1]
        assert zlib.crc32(picture) == row(sample)[1] == line["crc32"]
        assert abs(sample.boot_ns - line["boot_ns"]) < 1_000_000  # two clocks, read in turn
    found = row(samples[0])
    assert found[2:5] == (*SIZE, True)
    assert (found[EXPOSURE], found[GAIN], found[LENS]) == (8000, 1.5, 2.25)
    assert found[DURATION] == 1_000_000 // RATE_HZ


def test_a_padded_buffer_of_a_usb_camera_is_cut_to_the_bytes_used(bench):
    with camera_of(bench, 1) as camera:
        camera.open()
        picture = take(camera, 1)[0].payload[1]
    assert len(picture) < picamera2_model.PADDED_BYTES
    assert bytes(picture[-2:]) == b"\xff\xd9"


def test_frames_that_the_sensor_lost_are_counted_as_its_own(bench):
    with camera_of(bench) as camera:
        camera.open()
        before = take(camera, 3)
        bench.camera.fault("drop", n=4)
        after = take(camera, 6)
    found = numbers(before + after)
    assert found[-1] - found[0] + 1 - len(found) == 4
    assert row(after[-1])[SENSOR:] == (4, 0, 0)


def test_frames_that_the_encoder_does_not_put_out_are_counted_as_its_own(bench):
    with camera_of(bench) as camera:
        camera.open()
        before = take(camera, 3)
        bench.camera.fault("garbage", n=3)  # the model's encoder puts nothing out for these
        after = take(camera, 6)
    found = numbers(before + after)
    assert found[-1] - found[0] + 1 - len(found) == 3
    assert row(after[-1])[SENSOR:] == (0, 0, 3)


def test_frames_that_the_reader_does_not_take_are_counted_as_late(bench, monkeypatch):
    monkeypatch.setattr("drivers.encoded_frames.MOST_WAITING", 4)
    with camera_of(bench) as camera:
        camera.open()
        before = take(camera, 1)
        time.sleep(0.6)  # this is the reader that comes late
        after = take(camera, 12)
    found = numbers(before + after)
    late = row(after[-1])[LATE]
    assert late > 0
    assert found[-1] - found[0] + 1 - len(found) == late
    assert (row(after[-1])[SENSOR], row(after[-1])[ENCODER]) == (0, 0)


def test_h264_marks_its_key_frames_and_begins_with_one(bench):
    with camera_of(bench, encoding="h264", key_interval_s=5 / RATE_HZ) as camera:
        camera.open()
        samples = take(camera, 11)
    assert camera.blob == "h264"
    assert [row(sample)[KEY] for sample in samples] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert all(bytes(sample.payload[1][:4]) == b"\0\0\0\1" for sample in samples)


def test_after_a_lost_frame_h264_goes_on_with_a_key_frame(bench, monkeypatch):
    monkeypatch.setattr("drivers.encoded_frames.MOST_WAITING", 4)
    with camera_of(bench, encoding="h264", key_interval_s=60) as camera:
        camera.open()
        before = take(camera, 1)
        time.sleep(0.6)  # this is the reader that comes late
        after = take(camera, 12)
    found = numbers(before + after)
    behind_gaps = [
        row(sample)[KEY]
        for last, sample in zip(before + after, after, strict=False)
        if known(sample.counter) != known(last.counter) + 1
    ]
    assert behind_gaps
    assert all(behind_gaps)
    assert found[-1] - found[0] + 1 - len(found) == row(after[-1])[LATE]


def test_a_camera_that_falls_silent_is_dead_and_is_not_touched_again(bench, monkeypatch):
    monkeypatch.setattr("drivers.camera.STALLED_S", 0.4)
    with camera_of(bench) as camera:
        camera.open()
        take(camera, 2)
        bench.camera.fault("stall", seconds=60)
        with pytest.raises(StuckDeviceError, match=r"no frame for 0\.4 s"):
            take(camera, 100)
        camera.close()  # returns at once: it calls nothing of the library
        with pytest.raises(StuckDeviceError, match="only a new process"):
            camera.open()


def test_stopping_a_camera_that_has_just_died_has_an_end(bench, monkeypatch):
    monkeypatch.setattr("drivers.pi_camera.STOP_S", 0.3)
    with camera_of(bench) as camera:
        camera.open()
        take(camera, 2)
        bench.camera.fault("stall", seconds=60)
        while camera.read(0.2) is not None:  # what was on its way
            pass
        with pytest.raises(StuckDeviceError, match=r"does not stop within 0\.3 s"):
            camera.finish()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"width": 640, "height": 480}, "are 640x480, the nearest that the camera has is 320x240"),
        ({"rate_hz": 60}, r"rate_hz is 60, allowed at this size are 0\.1 to 25"),
        ({"controls": {"Zoom": 1}}, "no control 'Zoom'; the camera has AnalogueGain, Exposure"),
        ({"controls": {"AnalogueGain": 17}}, r"AnalogueGain is 17, allowed are 1\.0 to 16\.0"),
        ({"controls": {"ScalerCrop": 1}}, "ScalerCrop takes no single number"),
    ],
)
def test_what_the_camera_cannot_do_is_refused_with_what_it_can(bench, wish, words):
    with camera_of(bench, **wish) as camera, pytest.raises(WrongDeviceError, match=words):
        camera.open()


def test_a_number_that_libcamera_does_not_list_is_absent_with_those_that_it_does(bench):
    with (
        camera_of(bench, 2) as camera,
        pytest.raises(DeviceAbsentError, match="finds 0: model, 1: model on USB"),
    ):
        camera.open()


def test_rotation_and_controls_reach_the_camera(bench):
    wish = {"ExposureTime": 5000, "AnalogueGain": 2.0}
    with camera_of(bench, controls=wish, rotation_deg=180) as camera:
        camera.open()
        opened = camera._camera  # what the library was told is nowhere else to be seen
    frame_us = 1_000_000 // RATE_HZ
    assert opened.controls == {**wish, "FrameDurationLimits": (frame_us, frame_us)}
    assert opened.transform == {"hflip": True, "vflip": True}


@pytest.mark.parametrize(
    ("encoding", "has_hardware", "name"),
    [
        ("jpeg", False, "JpegEncoder(q=70)"),
        ("jpeg", True, "MJPEGEncoder(bitrate=5376000)"),
        ("h264", True, "H264Encoder(bitrate=2000000, repeat=True, iperiod=20, framerate=25)"),
    ],
)
def test_the_hardwares_encoder_is_used_where_there_is_one(encoding, has_hardware, name):
    def named(kind: str):
        return lambda **given: f"{kind}({', '.join(f'{k}={v}' for k, v in given.items())})"

    kinds = {kind: named(kind) for kind in ("JpegEncoder", "MJPEGEncoder", "H264Encoder")}
    others = dict.fromkeys(("Picamera2", "Transform", "Output"))
    parts = Library(number=0, has_hardware=has_hardware, **kinds, **others)
    camera = PiCamera(encoding=encoding, jpeg_quality=70, rate_hz=25, bitrate_bps=2_000_000,
                      key_interval_s=0.8)  # fmt: skip
    assert camera._encoder(parts) == name


def test_a_picture_too_large_for_the_hardware_is_encoded_by_software():
    kinds = {"JpegEncoder": dict, "MJPEGEncoder": list, "H264Encoder": list}
    others = dict.fromkeys(("Picamera2", "Transform", "Output"))
    parts = Library(number=0, has_hardware=True, **kinds, **others)
    assert PiCamera(width=1922, height=1080)._encoder(parts) == {"q": 80}


def test_a_jpeg_needs_no_mark_of_a_key_frame():
    camera = PiCamera()
    take_it = camera._encoded(SimpleNamespace(firsttimestamp=0))
    camera._frames.expose(5000, Shot(number=0, boot_ns=0, size=SIZE))
    take_it(b"picture", False, 5)
    taken = camera._frames.take(0)
    assert taken is not None
    assert taken.shot.is_key


def usb_request(sequence: int, stamp_ns: int, picture: bytes = b"\xff\xd8\xff\xd9") -> Any:
    """Return what picamera2 gives of a frame of a USB camera."""
    plane = SimpleNamespace(bytes_used=len(picture))
    metadata = SimpleNamespace(sequence=sequence, planes=[plane])
    return SimpleNamespace(
        stream_map={"main": 0},
        request=SimpleNamespace(buffers={0: SimpleNamespace(metadata=metadata)}),
        get_metadata=lambda: {"SensorTimestamp": stamp_ns},
        make_buffer=lambda _: picture,
    )


def test_a_usb_cameras_frames_are_counted_by_the_kernel_however_late_they_came():
    camera = PiCamera(rate_hz=10)
    begin_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 10**9
    # By their times frame 1 has two periods before it, and frame 5 not one.
    late_ms = {1: 120, 2: 30, 4: 90}
    for sequence in (0, 1, 2, 4, 5, 6, 7, 8, 9):
        after_ms = 100 * sequence + late_ms.get(sequence, 0)
        camera._compressed(usb_request(sequence, begin_ns + after_ms * 10**6))
    found = [camera._frames.take(0) for _ in range(9)]
    assert [one and (one.shot.number, one.lost.sensor) for one in found] == [
        (0, 0), (1, 0), (2, 0), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (9, 1),
    ]  # fmt: skip


def test_what_comes_behind_a_later_frame_is_put_before_it_with_its_own_time():
    camera = PiCamera(rate_hz=1)
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - suspended_ns()
    # Frame 1 was damaged; its buffer was filled again with frame 4, and held 2 and 3 up for long.
    for sequence in (0, 4, 2, 3, 5, 6, 7):
        camera._compressed(usb_request(sequence, now_ns - max(5 - sequence, 0) * 10**9))
    found = [camera._frames.take(0) for _ in range(4)]
    assert [one and (one.shot.number, one.lost.sensor) for one in found] == [
        (0, 0), (2, 1), (3, 1), (4, 1),
    ]  # fmt: skip
    # Two are older than a stamp of the machine's clock is when it arrives, and of that clock still.
    assert [one and one.shot.boot_ns - now_ns - suspended_ns() for one in found[1:]] == [
        pytest.approx(-age_s * 10**9, abs=10**6) for age_s in (3, 2, 1)
    ]


def test_what_the_kernel_kept_of_a_usb_camera_is_missing_in_its_numbers_once(bench):
    with camera_of(bench, 1) as camera:
        camera.open()
        before = take(camera, 3)
        bench.camera.fault("drop", n=2)  # lost on the wire
        between = take(camera, 3)
        bench.camera.fault("garbage", n=3)  # damaged: marked, and not given to us
        after = take(camera, 3 * BUFFERS)  # so many can be held behind each gap
    found = numbers(before + between + after)
    assert found == sorted(found)
    assert found[-1] - found[0] + 1 - len(found) == 5
    assert row(between[-1])[SENSOR:] == (2, 0, 0)
    assert row(after[-1])[SENSOR:] == (5, 0, 0)


def test_an_isps_own_numbers_hide_nothing_that_the_sensor_lost(bench):
    with camera_of(bench) as camera:
        camera.open()
        sequences: list[int] = []
        expose = camera._camera.pre_callback

        def listen(request: Any) -> None:
            sequences.append(request.request.buffers["main stream"].metadata.sequence)
            expose(request)

        camera._camera.pre_callback = listen
        take(camera, 2)
        bench.camera.fault("drop", n=4)
        after = take(camera, 6)
    assert sequences == list(range(sequences[0], sequences[-1] + 1))
    assert row(after[-1])[SENSOR] == 4


def test_what_a_camera_does_not_say_is_not_known():
    camera = PiCamera()
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    camera._compressed(usb_request(0, now_ns))
    taken = camera._frames.take(0)
    assert taken is not None
    assert (taken.shot.exposure_us, taken.shot.frame_duration_us) == (UNKNOWN, UNKNOWN)
    assert math.isnan(taken.shot.gain)
    assert math.isnan(taken.shot.lens_position)


def test_a_call_that_does_not_end_is_left_after_its_time():
    ended = threading.Event()
    with pytest.raises(TimeoutError, match="has not ended"):
        call_within(0.05, ended.wait)
    ended.set()
    assert call_within(5, lambda: 7) == 7
    with pytest.raises(RuntimeError, match="from the library"):
        call_within(5, refuse)


def refuse() -> None:
    raise RuntimeError("from the library")


def test_a_camera_that_is_pulled_between_list_and_opening_is_absent(bench, monkeypatch):
    def pulled(*_: object) -> None:
        raise IndexError("list index out of range")  # picamera2 looks it up in the list again

    monkeypatch.setattr(picamera2_model, "Picamera2", pulled)
    with (
        camera_of(bench) as camera,
        pytest.raises(DeviceAbsentError, match=r"camera unix:.*: list"),
    ):
        camera.open()


def test_an_absent_model_is_absent(tmp_path):
    with PiCamera(device=f"unix:{tmp_path}/none") as camera, pytest.raises(DeviceAbsentError):
        camera.open()


def test_a_camera_that_is_plugged_in_later_is_found_by_the_same_process(tmp_path):
    with PiCamera(device=f"unix:{tmp_path / 'camera'}#1", width=320, height=240) as camera:
        with pytest.raises(DeviceAbsentError, match="libcamera finds none"):
            camera.open()
        bench = Bench(tmp_path)
        wait_until((tmp_path / "camera").exists)
        try:
            assert camera.open().model == "model on USB"
        finally:
            camera.close()
            bench.stop()


def test_a_picture_that_nobody_marked_and_that_is_not_whole_is_broken(bench):
    with camera_of(bench, 1) as camera:
        camera.open()
        bench.camera.fault("stall", seconds=60)
        while camera.read(0.2) is not None:  # what was on its way
            pass
        number = 1000
        for sequence in range(number, number + BUFFERS):
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            camera._compressed(usb_request(sequence, now_ns, b"?"))
        with pytest.raises(BadSampleError, match=f"frame {number}: 1 bytes that are no whole JPEG"):
            camera.read(0)
