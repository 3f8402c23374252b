"""Values that do not change: a sensor that is there, answers, and measures nothing any more.

What a living sensor gives is never the same for long: its noise alone moves the lowest bits. So an
axis whose counts stay bit-identical is frozen, and a row of nothing but 0x00 or 0xFF comes from a
chip without power or from one that sleeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.base import Field

#: So long, and for so many rows, must a value stay the same to be called frozen.
FROZEN_NS = 5_000_000_000
FROZEN_ROWS = 50
#: What a chip without power, or a bus that hangs, seems to hold everywhere.
DEAD = (0x00, 0xFF)


class Stillness:
    """Watches some columns of a driver's rows.

    Args:
        fields: the columns of a row.
        watched: beginnings of the names of those that a living sensor keeps moving.
    """

    def __init__(self, fields: Sequence[Field], watched: tuple[str, ...]) -> None:
        self._columns: list[tuple[str, int, int]] = []
        offset = 0
        for one in fields:
            width = int(one.type[2:])
            if one.name.startswith(watched):
                self._columns.append((one.name, offset, width))
            offset += width
        self._row_bytes = offset
        self.forget()

    def forget(self) -> None:
        """Begin anew, as when the device was opened."""
        self._since: dict[str, tuple[bytes, int, int]] = {}
        self._frozen: list[str] = []
        self.is_dead = False

    def look(self, rows: bytes, at_ns: int) -> None:
        """Watch a burst.

        Args:
            rows: whole rows, at least one.
            at_ns: when they were read.
        """
        count = len(rows) // self._row_bytes
        values: list[bytes] = []
        self._frozen = []
        for name, offset, width in self._columns:
            value = rows[offset : offset + width]
            values.append(value)
            former, since_ns, seen = self._since.get(name, (value, at_ns, 0))
            if value != former or not self._is_constant(rows, offset, value, count):
                value, since_ns, seen = rows[offset - self._row_bytes :][:width], at_ns, 0
            self._since[name] = value, since_ns, seen + count
            if at_ns - since_ns >= FROZEN_NS and seen + count >= FROZEN_ROWS:
                self._frozen.append(name)
        together = b"".join(values)
        self.is_dead = any(together.count(byte) == len(together) for byte in DEAD)

    def _is_constant(self, rows: bytes, offset: int, value: bytes, count: int) -> bool:
        return all(
            rows[offset + place :: self._row_bytes].count(byte) == count
            for place, byte in enumerate(value)
        )

    @property
    def frozen(self) -> Sequence[str]:
        """Names of the columns that have been constant for too long."""
        return self._frozen

    @property
    def is_frozen(self) -> bool:
        """Whether all watched columns are."""
        return len(self._frozen) == len(self._columns)
