"""The kernel's own drivers read the register models, and find what the models say."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

import pytest

from drivers.sim.lsm6ds_chip import Lsm6dsoChip
from hil.kernel.bench import WITH_LINES, found_by_itself
from hil.kernel.chips import BY_ADDRESS, RESTING, WITHOUT_DRIVER, Chip
from hil.kernel.iio import FORCE, HEAT, TURN, is_felt, with_channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hil.kernel.bench import Bench
    from hil.kernel.iio import Device

    Rows = list[tuple[int, ...]]

ROWS = 20
#: The kernel's buffer of a device that waits until another one is read.
BUFFER_ROWS = 1000
#: Of the first sensor and of the second; the FIFO has the lower one of those that are on. If the
#: second comes on while Linux 6.12 empties the FIFO, that takes the next row to be as long as the
#: last: so it has no reason to until then.
WATERMARKS = 400, 4
UPRIGHT = "1, 0, 0; 0, 1, 0; 0, 0, 1"
EACH = pytest.mark.parametrize("address", BY_ADDRESS, ids=[one.name for one in BY_ADDRESS.values()])
ALONE = pytest.mark.parametrize("kind", [FORCE, TURN], ids=["force", "turn"])


@pytest.fixture(scope="module", autouse=True)
def adapter(bench: Bench) -> Iterator[None]:
    """The chips have interrupts; the kernel found them by itself."""
    bench.plug(WITH_LINES)
    yield
    bench.pull(WITH_LINES)


@EACH
def test_the_kernel_takes_the_chip_for_what_it_is(bench: Bench, address: int) -> None:
    chip, client = BY_ADDRESS[address], found_by_itself(address)
    assert {one.name for one in bench.bound(client, chip)} == set(chip.devices)
    is_another = chip.told != chip.name
    complaints = bench.complaints(client)
    assert [f"got {chip.identity:#04x}" in one for one in complaints] == [True] * is_another


@EACH
@ALONE
def test_what_the_kernel_reads_is_what_the_chip_feels_at_every_scale(
    bench: Bench, address: int, kind: Sequence[str]
) -> None:
    bench.motion.swings = False
    device = with_channel(bench.bound(found_by_itself(address), BY_ADDRESS[address]), kind[0])
    felt = RESTING[:3] if kind == FORCE else RESTING[3:]
    shared = kind[0].rpartition("_")[0]
    assert device.get(mount(device, shared)) == UPRIGHT
    scales = device.get(f"in_{shared}_scale_available").split()
    assert len(scales) == 4
    for scale in scales:
        device.set(f"in_{shared}_scale", scale)
        assert is_felt(device.counts(kind), float(scale), felt)


def mount(device: Device, shared: str) -> str:
    names = (f"in_{shared}_mount_matrix", "in_mount_matrix", "mount_matrix")
    return next(one for one in names if device.has(one))


@EACH
def test_the_kernel_streams_the_rows_of_the_fifo(
    bench: Bench, address: int, tell: Callable[[str], None]
) -> None:
    chip, client = BY_ADDRESS[address], found_by_itself(address)
    found = bench.bound(client, chip)
    bench.motion.swings = True
    known = bench.complaints(client)
    for rate_hz in chip.rates_hz:
        begun = len(bench.made(chip))
        kept = stream(chip, found, rate_hz)
        made = bench.made(chip)[begun:]
        for axes, rows in kept:
            wanted = [row[axes] for row in made]
            places = [at for at in range(len(wanted)) if wanted[at : at + len(rows)] == rows]
            assert len(places) == 1, f"{rate_hz} Hz: {rows[:3]} in {wanted[:9]}: {places}"
            tell(f"{rate_hz} Hz: {len(rows)} rows equal")
    assert bench.complaints(client) == known


def stream(chip: Chip, found: Sequence[Device], rate_hz: str) -> list[tuple[slice, Rows]]:
    """Return rows of both sensors, each with the axes that it has of a row."""
    if chip.maker == "invensense":
        return of_one(found[0], rate_hz)
    # Of the others' time stamps Linux 6.12 makes nothing: its `ts_sensitivity` is 0 for them.
    return of_two(found, rate_hz, has_times=chip.model is Lsm6dsoChip)


def of_one(device: Device, rate_hz: str) -> list[tuple[slice, Rows]]:
    """Read a device that has both sensors, and the thermometer, which says 25 degrees."""
    every = (*FORCE, *HEAT, *TURN)
    device.set("sampling_frequency", rate_hz)
    with device.streaming(every, 4 * ROWS):
        taken = device.take(every, ROWS)
    scale, offset = float(device.get("in_temp_scale")), float(device.get("in_temp_offset"))
    degc = {round((one + offset) * scale / 1000, 1) for one in taken.values["temp"]}
    assert degc == {25.0}
    return [(slice(0, 6), taken.rows((*FORCE, *TURN)))]


def of_two(found: Sequence[Device], rate_hz: str, *, has_times: bool) -> list[tuple[slice, Rows]]:
    """Read two devices that share a FIFO; the chip's own clock says when each row was taken."""
    parts = [(slice(0, 3), FORCE), (slice(3, 6), TURN)]
    kinds = [(axes, kind, with_channel(found, kind[0])) for axes, kind in parts]
    kept = []
    with contextlib.ExitStack() as streams:
        for (_, kind, device), watermark in zip(kinds, WATERMARKS, strict=True):
            device.set("sampling_frequency", rate_hz)
            streams.enter_context(device.streaming(kind, BUFFER_ROWS, watermark))
        # With the second sensor the kernel begins anew: what was there before is another piece.
        early = [device.waiting() for _, _, device in kinds]
        for before, (axes, kind, device) in zip(early, kinds, strict=True):
            taken = device.take(kind, before + ROWS)
            kept.append((axes, taken.rows(kind)[before:]))
            if has_times:
                check_times(taken.times_ns[before:], rate_hz)
    return kept


def check_times(times_ns: Sequence[int], rate_hz: str) -> None:
    """The rows are a period apart, by the chip's clock."""
    period_ns = 1e9 / float(rate_hz)
    steps = [b - a for a, b in itertools.pairwise(times_ns)]
    assert all(abs(one - period_ns) <= 0.02 * period_ns for one in steps), steps


def test_what_has_no_driver_here_is_not_forgotten(bench: Bench) -> None:
    """It fails when Debian's kernel has one: then the chip belongs into `CHIPS`."""
    known = bench.machine.run("cat /lib/modules/*/modules.alias")
    assert [one for one in WITHOUT_DRIVER if f"alias i2c:{one} " in known] == []
