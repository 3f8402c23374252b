"""The machine with picamera2 and libcamera: the usual one, a camera lane, and what Debian lacks.

It has the real picamera2. What stands in for others is in ``stubs``: Raspberry Pi's DRM binding
(it draws previews) and PiDNG (it writes raw negatives). And picamera2 takes its buffers from a heap
that only a Pi's kernel has by its name, so the system's heap gets that name.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from hil.root import keep
from hil.vm.ready import PYTHON_VERSION, Ready, found, key, make

PACKAGES = (
    *("python3-libcamera", "libcamera-ipa", "python3-numpy", "python3-pil", "python3-piexif"),
    "python3-prctl",
)
HERE = Path(__file__).parent
MODULES = f"usr/local/lib/python{PYTHON_VERSION}/dist-packages"
RULE = "etc/udev/rules.d/60-bench.rules"
HEAP = 'SUBSYSTEM=="dma_heap", KERNEL=="system", GROUP="video", MODE="0660"\n'
#: Not by udev, which writes no comma into a name.
LINK, NAMED = "etc/tmpfiles.d/bench.conf", "L /dev/dma_heap/linux,cma - - - - system\n"
SETTINGS = """[vehicle]
name = "bench"
[upload]
mode = "off"
[[lanes]]
name = "camera"
driver = "pi_camera"
device = "0"
required = false
rate_hz = 10
width = 320
height = 240
"""


def ready() -> Ready:
    """Return the machine, made if it is not there yet."""
    digest = hashlib.sha256(key().encode())
    for file in sorted(HERE.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(file.read_bytes())
    return found(keep("picamera", digest.hexdigest()[:12], _make))


def _make(place: Path) -> None:
    make(place, SETTINGS, ("camera",), PACKAGES, _complete)


def _complete(system: Path) -> None:
    """Add picamera2 to a root."""
    pip = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--require-hashes", "--no-compile"),
        *("--python-version", PYTHON_VERSION, "--platform", "manylinux_2_28_x86_64"),
        *("--platform", "any", "--target", str(system / MODULES)),
        *("--requirement", str(HERE / "requirements.txt")),
    ]
    subprocess.run(pip, check=True, stdin=subprocess.DEVNULL)
    shutil.copytree(HERE / "stubs", system / MODULES, dirs_exist_ok=True)
    (system / RULE).write_text(HEAP)
    (system / LINK).write_text(NAMED)
