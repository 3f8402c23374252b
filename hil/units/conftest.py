from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from hil.root import missing, root
from hil.units.box import Box, gather, package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that an installation without a network needs."""
    if reason := missing("systemd-nspawn", "nsenter"):
        pytest.skip(f"{reason} (apt-get install systemd-container mmdebstrap)")
    return gather(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def debs(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The package in two versions."""
    folder = tmp_path_factory.mktemp("debs")
    return [package(folder, version, wheels) for version in ("0.1.0", "0.1.1")]


@pytest.fixture(scope="module")
def bare(debs: list[Path]) -> Iterator[Box]:
    """A box that was booted, with nothing installed."""
    with Box(root()) as box:
        box.boot()
        yield box


@pytest.fixture(scope="session")
def box(debs: list[Path]) -> Iterator[Box]:
    """A box that records from the models."""
    with Box(root()) as box:
        box.boot()
        box.install(debs[0])
        box.record()
        yield box


@pytest.fixture(scope="module")
def made(wheels: Path) -> Iterator[Box]:
    """A box that was never booted, with a checkout and a folder of wheels."""
    with Box(root("make", "ca-certificates")) as box:
        box.check_out()
        shutil.copytree(wheels, box.root / "srv/my stick/wheels")
        yield box
