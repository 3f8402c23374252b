"""What the kernel says of a chip: its devices of the industrial I/O subsystem."""

from __future__ import annotations

import base64
import contextlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hil.vm.machine import Machine

#: As the kernel calls what a model logs as ax to wz, and its thermometer.
FORCE, TURN = ("accel_x", "accel_y", "accel_z"), ("anglvel_x", "anglvel_y", "anglvel_z")
HEAT = ("temp",)
PATIENCE_S = 60
#: The models' noise is one count; the kernel's scales have four digits that count.
MOST_COUNTS, MOST_SCALE = 2, 2e-3


@dataclass(frozen=True)
class Stream:
    """What came out of a device's buffer.

    Args:
        values: by channel, the counts of every row.
        times_ns: of every row.
    """

    values: Mapping[str, Sequence[int]]
    times_ns: Sequence[int]

    def rows(self, channels: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the counts of some channels, row by row."""
        return list(zip(*(self.values[one] for one in channels), strict=True))


class Device:
    """One device.

    Args:
        machine: where it is.
        path: its folder in sysfs.
    """

    def __init__(self, machine: Machine, path: str) -> None:
        self._machine = machine
        self.path = path
        self.node = f"/dev/{path.rpartition('/')[2]}"
        self.name = self.get("name")

    def get(self, attribute: str) -> str:
        """Read an attribute."""
        return self._machine.run(f"cat {self.path}/{attribute}")

    def set(self, attribute: str, value: str) -> None:
        """Write an attribute."""
        self._machine.run(f"echo {value} > {self.path}/{attribute}")

    def has(self, attribute: str) -> bool:
        """Tell whether it has an attribute."""
        return not self._machine.try_(f"test -e {self.path}/{attribute}")[0]

    def counts(self, channels: Sequence[str]) -> list[int]:
        """Read what the chip's registers hold now."""
        files = " ".join(f"{self.path}/in_{one}_raw" for one in channels)
        return [int(one) for one in self._machine.run(f"cat {files}").split()]

    @contextlib.contextmanager
    def streaming(self, channels: Sequence[str], rows: int, watermark: int = 1) -> Iterator[None]:
        """Let rows of these channels and their times go into the kernel's buffer meanwhile."""
        on = " ".join(f"echo 1 > scan_elements/in_{one}_en;" for one in (*channels, "timestamp"))
        self._machine.run(
            f"cd {self.path} && for one in scan_elements/*_en; do echo 0 > $one; done; {on}"
            f" echo boottime > current_timestamp_clock && echo {rows} > buffer/length &&"
            f" echo {watermark} > buffer/watermark && echo 1 > buffer/enable"
        )
        try:
            yield
        finally:
            self.set("buffer/enable", "0")

    def take(self, channels: Sequence[str], rows: int) -> Stream:
        """Return rows out of the buffer."""
        order = sorted(channels, key=lambda one: int(self.get(f"scan_elements/in_{one}_index")))
        ends = {self.get(f"scan_elements/in_{one}_type") for one in order}
        assert ends <= {"le:s16/16>>0", "be:s16/16>>0"}, ends
        end = "<" if "le:" in min(ends) else ">"
        pad = -2 * len(order) % 8
        row = struct.Struct(f"{end}{len(order)}h{pad}x")
        size = row.size + 8
        # Row by row: what came before the patience is over is there to be told.
        said = self._machine.run(
            f"timeout {PATIENCE_S} dd if={self.node} bs={size} count={rows} iflag=fullblock"
            " status=none | base64 -w 0",
            PATIENCE_S + 10,
        )
        raw = base64.b64decode(said)
        assert len(raw) == rows * size, f"{len(raw) // size} rows of {rows} in {PATIENCE_S} s"
        pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
        columns = zip(*(row.unpack_from(one) for one in pieces), strict=True)
        times_ns = [struct.unpack_from("<q", one, row.size)[0] for one in pieces]
        return Stream(dict(zip(order, columns, strict=True)), times_ns)

    def waiting(self) -> int:
        """Return how many rows the buffer holds."""
        return int(self.get("buffer/data_available"))


def devices(machine: Machine, client: str) -> list[Device]:
    """Return the devices of an I2C client, such as ``3-0068``; none if no driver has it."""
    # All its files are there before this folder; one without a stream has no node, and no number.
    folders = f"/sys/bus/i2c/devices/{client}/iio:device*/power"
    found = machine.run(f"ls -d {folders} 2>/dev/null || true")
    return [Device(machine, path.removesuffix("/power")) for path in found.split()]


def is_felt(counts: Sequence[int], step: float, felt: Sequence[float]) -> bool:
    """Tell whether counts, each worth so much, are what a chip feels."""
    return all(
        abs(count * step - right) <= MOST_COUNTS * step + MOST_SCALE * abs(right)
        for count, right in zip(counts, felt, strict=True)
    )


def with_channel(found: Sequence[Device], channel: str) -> Device:
    """Return the device that has a channel."""
    return next(one for one in found if one.has(f"in_{channel}_raw"))
