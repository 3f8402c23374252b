"""Every scenario that there is."""

from __future__ import annotations

from hil.scenarios import (
    of_box,
    of_camera,
    of_gps,
    of_imu,
    of_limits,
    of_pins,
    of_power,
    of_tpm,
    of_upload,
)

ALL = (
    *(*of_imu.SCENARIOS, *of_gps.SCENARIOS, *of_camera.SCENARIOS),
    *(*of_box.SCENARIOS, *of_upload.SCENARIOS, *of_limits.SCENARIOS),
    *(*of_pins.SCENARIOS, *of_power.SCENARIOS, *of_tpm.SCENARIOS),
)
