from __future__ import annotations

import importlib.util

import pytest

from drivers.base import DeviceAbsentError
from drivers.pi_camera import PiCamera


@pytest.mark.skipif(
    importlib.util.find_spec("picamera2") is not None, reason="picamera2 is installed here"
)
def test_without_its_library_the_camera_is_absent_and_the_text_says_what_to_install():
    with PiCamera() as camera, pytest.raises(DeviceAbsentError, match="apt install python3-picam"):
        camera.open()


def test_a_device_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="allowed is a camera's number"):
        PiCamera(device="/dev/video0")


def test_closing_twice_and_before_opening_is_fine():
    camera = PiCamera()
    camera.close()
    camera.close()
