from __future__ import annotations

import ctypes
import errno
import shutil
import subprocess
import time
import zlib
from typing import Any

import pytest

from drivers import v4l2_layout as layout
from drivers.base import (
    BadSampleError,
    DeviceAbsentError,
    DeviceLostError,
    DriverError,
    WrongDeviceError,
    boot_ns,
)
from drivers.camera import ROW
from drivers.sim.pictures import read_number
from drivers.sim.v4l2_node import BUFFER_BYTES, ModelNode
from drivers.v4l2_camera import BUFFERS, V4l2Camera, exposed_boot_ns
from drivers.v4l2_setup import set_controls
from tests.drivers.shooting import RATE_HZ, SIZE, Bench, numbers, take

#: What the header calls the structures and calls, and in which field they are compared.
STRUCTURES = {
    "v4l2_capability": (layout.Capability, "device_caps"),
    "v4l2_fmtdesc": (layout.FormatDescription, "pixelformat"),
    "v4l2_format": (layout.Format, "fmt"),
    "v4l2_pix_format": (layout.PixFormat, "pixelformat"),
    "v4l2_streamparm": (layout.StreamParameters, "parm"),
    "v4l2_captureparm": (layout.CaptureParameters, "timeperframe"),
    "v4l2_frmsizeenum": (layout.FrameSize, "type"),
    "v4l2_frmivalenum": (layout.FrameInterval, "type"),
    "v4l2_requestbuffers": (layout.RequestBuffers, "capabilities"),
    "v4l2_buffer": (layout.Buffer, "sequence"),
    "v4l2_queryctrl": (layout.QueryControl, "default_value"),
    "v4l2_control": (layout.Control, "value"),
}
CALLS = (
    *("QUERYCAP", "ENUM_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON"),
    *("STREAMOFF", "S_PARM", "S_CTRL", "QUERYCTRL", "ENUM_FRAMESIZES", "ENUM_FRAMEINTERVALS"),
)
NUMBERS = {
    "V4L2_BUF_FLAG_ERROR": layout.BUF_FLAG_ERROR,
    "V4L2_BUF_FLAG_TIMESTAMP_MASK": layout.BUF_FLAG_TIMESTAMP_MASK,
    "V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC": layout.BUF_FLAG_TIMESTAMP_MONOTONIC,
    "V4L2_CAP_VIDEO_CAPTURE": layout.CAP_VIDEO_CAPTURE,
    "V4L2_CAP_STREAMING": layout.CAP_STREAMING,
    "V4L2_CAP_DEVICE_CAPS": layout.CAP_DEVICE_CAPS,
    "V4L2_CAP_TIMEPERFRAME": layout.CAP_TIMEPERFRAME,
    "V4L2_CTRL_FLAG_NEXT_CTRL": layout.CTRL_FLAG_NEXT,
    "V4L2_CTRL_FLAG_DISABLED": layout.CTRL_FLAG_DISABLED,
    "V4L2_PIX_FMT_MJPEG": layout.fourcc("MJPG"),
}


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.stop()


def camera_of(bench: Bench, **changes) -> V4l2Camera:
    width, height = SIZE
    wish = {"device": bench.device, "rate_hz": RATE_HZ, "width": width, "height": height}
    return V4l2Camera(**{**wish, **changes})


def test_layouts_and_numbers_are_those_of_the_kernels_own_header(tmp_path):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("this machine has no gcc")
    lines = [f"P({name}, {field})" for name, (_, field) in STRUCTURES.items()]
    lines += [f"N(VIDIOC_{name})" for name in CALLS] + [f"N({name})" for name in NUMBERS]
    source = tmp_path / "layout.c"
    source.write_text(
        "#include <linux/videodev2.h>\n#include <stddef.h>\n#include <stdio.h>\n"
        '#define P(s, f) printf("%zu %zu\\n", sizeof(struct s), offsetof(struct s, f));\n'
        '#define N(n) printf("%lu\\n", (unsigned long) (unsigned int) (n));\n'
        f"int main(void) {{ {' '.join(lines)} return 0; }}\n"
    )
    program = tmp_path / "layout"
    made = subprocess.run([compiler, "-o", program, source], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"the kernel's header is missing: {made.stderr.decode()[:200]}")
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    ours = [
        f"{ctypes.sizeof(kind)} {getattr(kind, field).offset}"
        for kind, field in STRUCTURES.values()
    ]
    ours += [str(getattr(layout, name)) for name in CALLS] + [str(one) for one in NUMBERS.values()]
    assert said.splitlines() == ours


def test_a_node_that_is_not_there_is_absent_and_named():
    with (
        V4l2Camera(device="/dev/video-none") as camera,
        pytest.raises(DeviceAbsentError, match="/dev/video-none: No such file") as error,
    ):
        camera.open()
    assert not isinstance(error.value, WrongDeviceError)


def test_a_node_that_is_no_camera_is_a_wrong_device():
    with (
        V4l2Camera(device="/dev/null") as camera,
        pytest.raises(
            WrongDeviceError, match=r"/dev/null: no camera.*; allowed is a camera's node"
        ),
    ):
        camera.open()


def test_closing_twice_and_before_opening_is_fine():
    camera = V4l2Camera()
    camera.close()
    camera.close()
    with pytest.raises(DeviceLostError, match="not open"):
        camera.read(0)


def test_every_frame_arrives_as_it_was_made_with_number_and_time(bench):
    with camera_of(bench) as camera:
        device = camera.open()
        samples = [*take(camera, 8), *camera.finish()]
    log = bench.stop()
    assert (device.model, device.firmware) == ("Model camera", "6.1.0")
    assert device.interface["driver"] == "model"
    assert numbers(samples) == [line["frame"] for line in log]
    for sample, line in zip(samples, log, strict=True):
        row, picture = sample.payload
        assert ROW.unpack(row)[:5] == (line["frame"], line["crc32"], *SIZE, True)
        assert zlib.crc32(picture) == line["crc32"]
        assert read_number(bytes(picture)) == sample.counter
        assert abs(sample.boot_ns - line["boot_ns"]) < 1_000_000  # the driver's stamp has us


def test_frames_that_the_driver_lost_are_counted_by_its_own_numbers(bench):
    with camera_of(bench) as camera:
        camera.open()
        before = take(camera, 3)
        bench.camera.fault("drop", n=5)
        after = take(camera, 4)
    found = numbers(before + after)
    assert len(set(range(found[-1] + 1)) - set(found)) == 5
    assert ROW.unpack(after[-1].payload[0])[-3:] == (5, 0, 0)


def test_a_frame_that_the_driver_marks_as_damaged_is_broken_and_costs_one_sample(bench):
    with camera_of(bench) as camera:
        camera.open()
        take(camera, 2)
        bench.camera.fault("garbage", n=1)
        with pytest.raises(BadSampleError, match="marked as damaged") as error:
            take_on(camera)
        assert error.value.samples == 1
        sample = take(camera, 1)[0]
    assert ROW.unpack(sample.payload[0])[-3:] == (0, 0, 0)


def take_on(camera: V4l2Camera) -> None:
    deadline_s = time.monotonic() + 5
    while time.monotonic() < deadline_s:
        camera.read(0.5)


def test_a_camera_that_is_pulled_is_lost_and_the_same_driver_opens_it_again(bench):
    with camera_of(bench) as camera:
        camera.open()
        take(camera, 2)
        bench.camera.fault("unplug", seconds=0.5)
        with pytest.raises(DeviceLostError, match="pulled"):
            take_on(camera)
        camera.close()
        with pytest.raises(DeviceAbsentError):
            camera.open()
        camera.close()
        deadline_s = time.monotonic() + 5
        while time.monotonic() < deadline_s:
            try:
                camera.open()
                break
            except DeviceAbsentError:
                camera.close()
                time.sleep(0.05)  # between two looks; the deadline bounds them
        assert numbers(take(camera, 3)) == [0, 1, 2]  # a driver numbers from its start


@pytest.mark.parametrize("call", [one for one in (*CALLS, "map") if one != "ENUM_FMT"])
@pytest.mark.parametrize("code", [errno.ENODEV, errno.EBUSY, errno.ENOMEM])
def test_whichever_call_fails_the_lane_is_told_in_its_own_words(bench, monkeypatch, call, code):
    def fail() -> None:
        raise OSError(code, "as the kernel says it")

    kept = ModelNode.ioctl

    def ioctl(self: ModelNode, request: int, argument: Any) -> None:
        if request == getattr(layout, call, None):
            fail()
        kept(self, request, argument)

    if call == "map":
        monkeypatch.setattr(ModelNode, "map", lambda *_: fail())
    else:
        monkeypatch.setattr(ModelNode, "ioctl", ioctl)
    wish = {"controls": {"brightness": 3}, "rotation_deg": 180}
    if call.startswith("ENUM"):
        wish = {"width": 640} if call == "ENUM_FRAMESIZES" else {"rate_hz": 30}
    with camera_of(bench, **wish) as camera, pytest.raises(DriverError):
        record_once(camera)


def record_once(camera: V4l2Camera) -> None:
    camera.open()
    take(camera, 1)
    camera.finish()


def test_a_camera_that_gives_no_more_frames_is_lost_after_a_while(bench, monkeypatch):
    monkeypatch.setattr("drivers.camera.STALLED_S", 0.3)
    with camera_of(bench) as camera:
        camera.open()
        take(camera, 2)
        bench.camera.fault("stall", seconds=60)
        with pytest.raises(DeviceLostError, match=r"no frame for 0\.3 s"):
            take_on(camera)


def test_a_slow_camera_is_waited_for_three_periods(tmp_path, monkeypatch):
    monkeypatch.setattr("drivers.camera.STALLED_S", 0.2)
    slow = Bench(tmp_path, rate_hz=2)
    try:
        with camera_of(slow, rate_hz=2) as camera:
            camera.open()
            assert numbers(take(camera, 2)) == [0, 1]
            slow.camera.fault("stall", seconds=60)
            with pytest.raises(DeviceLostError, match=r"no frame for 1\.5 s"):
                take_on(camera)
    finally:
        slow.stop()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"width": 640, "height": 480}, "width and height are 640x480, the camera has 320x240"),
        ({"rate_hz": 30}, "rate_hz is 30, the camera has 25 at 320x240"),
        ({"controls": {"zoom": 3}}, "no control 'zoom'; the camera has brightness, horizontal_fl"),
        ({"controls": {"brightness": 65}}, "control brightness is 65, allowed are -64 to 64"),
        (
            {"controls": {"exposure_auto": 1, "exposure_time_absolute": 15}},
            "control exposure_time_absolute is 15, allowed are 10 to 5000 in steps of 10",
        ),
        (
            {"controls": {"exposure_time_absolute": 100}},
            "exposure_time_absolute is refused at present; an automatic that is on may hold it",
        ),
        ({"rotation_deg": 90}, "no control 'rotate'"),
    ],
)
def test_what_the_camera_cannot_do_is_refused_with_what_it_can(bench, wish, words):
    with camera_of(bench, **wish) as camera, pytest.raises(WrongDeviceError, match=words):
        camera.open()


def test_a_rotation_that_no_camera_has_is_refused_before_anything_is_opened():
    with pytest.raises(ValueError, match="rotation_deg is 45, allowed are 0, 90, 180 and 270"):
        V4l2Camera(rotation_deg=45)


def test_controls_are_set_in_order_and_half_a_turn_is_two_flips(bench, monkeypatch):
    nodes: list[ModelNode] = []
    kept = ModelNode.__init__

    def keeping(self: ModelNode, path: str) -> None:
        nodes.append(self)
        kept(self, path)

    monkeypatch.setattr(ModelNode, "__init__", keeping)
    wish = {"exposure_auto": 1, "exposure_time_absolute": 100}
    with camera_of(bench, controls=wish, rotation_deg=180) as camera:
        camera.open()
        values = [nodes[0].value(name) for name in (b"Exposure, Auto", b"Exposure Time, Absolute")]
        flips = [nodes[0].value(name) for name in (b"Horizontal Flip", b"Vertical Flip")]
    assert (values, flips) == ([1, 100], [1, 1])


def test_controls_of_a_node_without_any_are_named_as_none(bench, monkeypatch):
    monkeypatch.setattr("drivers.sim.v4l2_node.CONTROLS", ())
    node = ModelNode(bench.device.removeprefix("unix:"))
    with pytest.raises(WrongDeviceError, match="the camera has none"):
        set_controls(node, "camera", {"brightness": 1})
    node.close()


def test_the_driver_gives_every_buffer_back(bench):
    with camera_of(bench) as camera:
        camera.open()
        assert numbers(take(camera, 3 * BUFFERS)) == list(range(3 * BUFFERS))


def test_buffers_are_trimmed_to_the_bytes_used(bench):
    with camera_of(bench) as camera:
        camera.open()
        picture = take(camera, 1)[0].payload[1]
    assert len(picture) < BUFFER_BYTES
    assert bytes(picture[-2:]) == b"\xff\xd9"


def stamped(stamp_us: int, flags: int) -> layout.Buffer:
    buffer = layout.Buffer(flags=flags)
    buffer.timestamp.tv_sec, buffer.timestamp.tv_usec = divmod(stamp_us, 1_000_000)
    return buffer


def test_a_monotonic_time_becomes_boot_time():
    early_ns = boot_ns()
    stamp_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    late_ns = boot_ns()
    found_ns = exposed_boot_ns(stamped(stamp_us, layout.BUF_FLAG_TIMESTAMP_MONOTONIC))
    # The stamp has us, and the two clocks are read one after the other.
    assert early_ns - 1_000_000 <= found_ns <= late_ns + 1_000_000


def test_a_time_of_an_unknown_clock_is_not_used():
    early_ns = boot_ns()
    assert early_ns <= exposed_boot_ns(stamped(12345, 0)) <= boot_ns()
