from __future__ import annotations

import pytest

from hil.picamera.ready import ready
from hil.vm.ready import Ready, why_not


@pytest.fixture(scope="package")
def picamera() -> Ready:
    """The machine that has picamera2."""
    if reason := why_not():
        pytest.skip(reason)
    return ready()
