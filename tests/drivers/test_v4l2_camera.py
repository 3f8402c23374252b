from __future__ import annotations

import time

import pytest
from linuxpy.video.device import BufferFlag

from drivers.base import DeviceAbsentError, WrongDeviceError, boot_ns
from drivers.v4l2_camera import V4l2Camera, to_boot_ns


def test_a_node_that_is_not_there_is_absent_and_named():
    with (
        V4l2Camera(device="/dev/video-none") as camera,
        pytest.raises(DeviceAbsentError, match="/dev/video-none") as error,
    ):
        camera.open()
    assert not isinstance(error.value, WrongDeviceError)


def test_a_node_that_is_no_camera_is_a_wrong_device():
    with (
        V4l2Camera(device="/dev/null") as camera,
        pytest.raises(WrongDeviceError, match="/dev/null: no camera"),
    ):
        camera.open()


def test_closing_twice_and_before_opening_is_fine():
    camera = V4l2Camera()
    camera.close()
    camera.close()


def test_a_monotonic_time_becomes_boot_time():
    early_ns = boot_ns()
    stamp_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    late_ns = boot_ns()
    flags = BufferFlag.TIMESTAMP_MONOTONIC | BufferFlag.TSTAMP_SRC_SOE
    # The two clocks are read one after the other: the result is late by that, never early.
    assert early_ns <= to_boot_ns(stamp_ns, flags) <= late_ns + (boot_ns() - early_ns)


def test_a_time_of_an_unknown_clock_is_not_used():
    early_ns = boot_ns()
    assert early_ns <= to_boot_ns(12345, BufferFlag.MAPPED) <= boot_ns()
