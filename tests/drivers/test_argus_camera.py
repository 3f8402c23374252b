from __future__ import annotations

import io
import itertools
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from drivers.argus_camera import LEARN_S, ArgusCamera
from drivers.base import DeviceAbsentError, DeviceLostError, Sample, WrongDeviceError, boot_ns
from drivers.camera import ROW
from tests.drivers.shooting import RATE_HZ, SIZE, numbers, take

ROOT = Path(__file__).parent.parent.parent
SENSOR = -3


def has_gstreamer() -> bool:
    if shutil.which("gst-launch-1.0") is None or shutil.which("setpriv") is None:
        return False
    needed = ("jpegenc", "matroskamux", "videoflip")
    looked = [["gst-inspect-1.0", "--exists", one] for one in needed]
    return not any(subprocess.run(one, check=False, timeout=60).returncode for one in looked)


with_gstreamer = pytest.mark.skipif(
    not has_gstreamer(),
    reason="this machine has no GStreamer (gstreamer1.0-tools, gstreamer1.0-plugins-good)",
)


class Behind(ArgusCamera):
    """With elements of the test's own behind the source."""

    behind: tuple[str, ...] = ()

    def _elements(self) -> list[str]:
        elements = super()._elements()
        at = elements.index("videoflip")
        return [*elements[:at], *self.behind, *elements[at:]]


def camera_of(kind: type[ArgusCamera] = ArgusCamera, **changes) -> ArgusCamera:
    width, height = SIZE
    wish = {"device": "test", "rate_hz": RATE_HZ, "width": width, "height": height}
    return kind(**{**wish, **changes})


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"device": "/dev/video0"}, "allowed is a sensor's number"),
        ({"jpeg_quality": 101}, "jpeg_quality is 101, allowed are 1 to 100"),
        ({"rotation_deg": 45}, "rotation_deg is 45, allowed are 0, 90, 180 and 270"),
    ],
)
def test_what_no_camera_can_do_is_refused_before_anything_is_opened(wish, words):
    with pytest.raises(ValueError, match=words):
        ArgusCamera(**wish)


def test_closing_twice_and_before_opening_is_fine():
    camera = ArgusCamera()
    camera.close()
    camera.close()
    with pytest.raises(DeviceLostError, match="not open"):
        camera.read(0)
    with pytest.raises(DeviceLostError, match="not open"):
        camera.finish()


def test_without_gstreamer_the_camera_is_absent_and_the_text_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with camera_of() as camera, pytest.raises(DeviceAbsentError, match="apt install gstreamer1"):
        camera.open()


def test_a_jetsons_pipeline_is_as_nvidia_documents_it():
    camera = ArgusCamera(
        device="1", rate_hz=30, width=1280, height=720, rotation_deg=180,
        controls={"wbmode": 1}, jpeg_quality=70,
    )  # fmt: skip
    assert " ".join(camera._elements()) == (
        "nvarguscamerasrc sensor-id=1 wbmode=1"
        " ! video/x-raw(memory:NVMM),format=NV12,width=1280,height=720,framerate=30000/1000"
        " ! nvvidconv flip-method=2 ! nvjpegenc quality=70"
    )


@with_gstreamer
def test_frames_come_with_numbers_and_times_on_the_pipelines_grid():
    early_ns = boot_ns()
    with camera_of() as camera:
        camera.open()
        samples = [*take(camera, 15), *camera.finish()]
    assert numbers(samples) == list(range(len(samples)))
    steps = [after.boot_ns - one.boot_ns for one, after in itertools.pairwise(samples)]
    assert all(step > 0 for step in steps)
    # What was held back until the delay was known has one and the same.
    held = math.ceil(LEARN_S * RATE_HZ)
    assert all(abs(step - 1e9 / RATE_HZ) < 2_000 for step in steps[: held - 1])
    assert early_ns < samples[0].boot_ns < samples[-1].boot_ns <= boot_ns()
    for sample in samples:
        assert Image.open(io.BytesIO(bytes(sample.payload[1]))).size == SIZE
        assert ROW.unpack(sample.payload[0])[2:4] == SIZE


@with_gstreamer
def test_a_quarter_of_a_turn_gives_pictures_of_the_size_that_was_asked_for():
    with camera_of(rotation_deg=90) as camera:
        camera.open()
        (sample,) = take(camera, 1)
    assert Image.open(io.BytesIO(bytes(sample.payload[1]))).size == SIZE


@with_gstreamer
def test_frames_that_the_pipeline_left_out_are_counted_by_their_times():
    class Dropping(Behind):
        behind = ("videorate", "drop-only=true", "max-rate=10", "!")

    camera = camera_of(Dropping, controls={"num-buffers": 40})
    with camera:
        camera.open()
        samples: list[Sample] = []
        with pytest.raises(DeviceLostError, match="has ended"):
            read_to_the_end(camera, samples)
    found = numbers(samples)
    lost = ROW.unpack(samples[-1].payload[0])[SENSOR]
    assert len(found) < 20
    assert lost == found[-1] + 1 - len(found) > 0
    assert found[-1] in (37, 38, 39)  # the last of 40 may be one that was left out
    assert camera.measured() == {"lost_sensor": lost}


def read_to_the_end(camera: ArgusCamera, samples: list[Sample]) -> None:
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        if (sample := camera.read(0.5)) is not None:
            samples.append(sample)


@with_gstreamer
def test_a_late_reader_loses_nothing_while_the_queue_holds():
    with camera_of() as camera:
        camera.open()
        take(camera, 2)
        time.sleep(0.4)  # this is the reader that comes late
        assert numbers(take(camera, 12)) == list(range(2, 14))


@with_gstreamer
def test_a_pipeline_that_falls_silent_is_lost_and_can_be_opened_again(monkeypatch):
    monkeypatch.setattr("drivers.camera.STALLED_S", 0.3)
    with camera_of() as camera:
        camera.open()
        take(camera, 2)
        stream = camera._stream
        assert stream is not None
        os.kill(stream._process.pid, signal.SIGSTOP)
        with pytest.raises(DeviceLostError, match=r"no frame for 0\.3 s"):
            take(camera, 1000)
        camera.close()
        camera.open()
        assert numbers(take(camera, 3)) == [0, 1, 2]


@with_gstreamer
def test_what_the_source_cannot_do_is_refused_with_its_own_words():
    words = 'does not do .*: .*no property "brightness"'
    with (
        camera_of(controls={"brightness": 1}) as camera,
        pytest.raises(WrongDeviceError, match=words),
    ):
        camera.open()


@with_gstreamer
def test_a_source_that_is_not_installed_is_absent():
    if not subprocess.run(
        ["gst-inspect-1.0", "--exists", "nvarguscamerasrc"], check=False
    ).returncode:
        pytest.skip("this machine is a Jetson")
    with camera_of(device="0") as camera, pytest.raises(DeviceAbsentError, match="nvarguscamera"):
        camera.open()


@with_gstreamer
def test_the_pipeline_dies_with_the_process_that_started_it():
    words = (
        "import sys, time; from drivers.argus_camera import ArgusCamera;"
        "c = ArgusCamera(device='test'); c.open();"
        "print(c._stream._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    pipeline = int(parent.stdout.readline())
    watched = os.pidfd_open(pipeline)
    parent.kill()
    parent.wait(10)
    parent.stdout.close()
    # Where this test is the reaper of orphans it has to collect it; elsewhere somebody else does.
    deadline_s = time.monotonic() + 10
    while is_alive(pipeline):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)  # between two looks; the deadline bounds them
    os.close(watched)


def is_alive(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return Path(f"/proc/{pid}").exists()
