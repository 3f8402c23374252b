"""A small state in shared memory that is there whole or not at all."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap

GENERATION_BYTES = 8
_CRC = struct.Struct("<I")


class Word:
    """Two alternating copies of a state, each with a generation and a checksum.

    No store from Python is promised to be atomic: the valid copy of the higher generation counts.

    Args:
        memory: the mapping.
        places: offsets of the copies: of even and of odd generations.
        size_bytes: of one copy, its generation included and its checksum not.
    """

    def __init__(self, memory: mmap.mmap, places: tuple[int, int], size_bytes: int) -> None:
        self._memory = memory
        self._places = places
        self._size_bytes = size_bytes
        self.generation = 0

    def read(self) -> bytes | None:
        """Return the newest valid copy's bytes behind the generation, or None if neither is."""
        best: bytes | None = None
        for place in self._places:
            raw = self._memory[place : place + self._size_bytes + 4]
            generation = int.from_bytes(raw[:8], "little")
            (crc,) = _CRC.unpack_from(raw, self._size_bytes)
            valid = generation and zlib.crc32(raw[: self._size_bytes]) == crc
            if valid and generation >= self.generation:
                self.generation, best = generation, raw[8 : self._size_bytes]
        return best

    def write(self, state: bytes) -> None:
        """Write the next generation over the older copy."""
        self.generation += 1
        raw = self.generation.to_bytes(8, "little") + state
        place = self._places[self.generation & 1]
        self._memory[place : place + self._size_bytes + 4] = raw + _CRC.pack(zlib.crc32(raw))
