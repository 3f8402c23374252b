from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.root import missing, root
from hil.units.box import LANES, Box, package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def debs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The package in two versions."""
    if reason := missing("systemd-nspawn", "nsenter"):
        pytest.skip(f"{reason} (apt-get install systemd-container mmdebstrap)")
    folder = tmp_path_factory.mktemp("debs")
    return [package(folder, version) for version in ("0.1.0", "0.1.1")]


@pytest.fixture(scope="module")
def bare(debs: list[Path]) -> Iterator[Box]:
    """A box that was booted, with nothing installed."""
    with Box(root()) as box:
        box.boot()
        yield box


@pytest.fixture(scope="module")
def box(debs: list[Path]) -> Iterator[Box]:
    """A box that records from the models."""
    with Box(root()) as box:
        box.boot()
        box.install(debs[0])
        box.add_models()
        box.start_models()
        box.configure(LANES + '[upload]\nmode = "off"\n')
        box.until(
            "for lane in gps imu camera; do"
            " systemctl show -P StatusText recorder-lane@$lane | grep -q ^running || exit 1; done"
        )
        yield box
