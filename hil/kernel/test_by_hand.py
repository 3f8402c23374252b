"""Drivers that are told by hand where a chip is: it has no interrupt then, and no stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.kernel.bench import WITHOUT_LINES
from hil.kernel.chips import BY_ADDRESS, RESTING
from hil.kernel.iio import FORCE, TURN, is_felt, with_channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.kernel.bench import Bench


@pytest.fixture(scope="module")
def bus(bench: Bench) -> Iterator[int]:
    yield bench.plug(WITHOUT_LINES)
    bench.pull(WITHOUT_LINES)


@pytest.mark.parametrize("address", BY_ADDRESS, ids=[one.name for one in BY_ADDRESS.values()])
def test_the_kernel_finds_the_chip_behind_the_usual_adapter(
    bench: Bench, bus: int, address: int
) -> None:
    folder = f"/sys/bus/i2c/devices/i2c-{bus}"
    chip = BY_ADDRESS[address]
    bench.machine.run(f"echo {chip.told} {address} > {folder}/new_device")
    found = bench.bound(f"{bus}-{address:04x}", chip)
    for kind, felt in ((FORCE, RESTING[:3]), (TURN, RESTING[3:])):
        device = with_channel(found, kind[0])
        step = float(device.get(f"in_{kind[0].rpartition('_')[0]}_scale"))
        assert is_felt(device.counts(kind), step, felt)
    bench.machine.run(f"echo {address} > {folder}/delete_device")
