"""Frames out of a Matroska stream, as GStreamer's ``matroskamux streamable=true`` writes one.

A stream is elements: an identity of 1 to 4 bytes, a length of 1 to 8, and so many bytes, which may
be elements in turn. Source: RFC 8794 (EBML, sections 4 to 6) and RFC 9559 (Matroska, section 10).
"""

from __future__ import annotations

from typing import NamedTuple

#: Elements to look into; all others that are not named here are passed over.
_SEGMENT, _INFO, _CLUSTER, _GROUP = 0x18538067, 0x1549A966, 0x1F43B675, 0xA0
_INSIDE = (_SEGMENT, _INFO, _CLUSTER, _GROUP)
_SCALE, _TIMESTAMP, _SIMPLE_BLOCK, _BLOCK = 0x2AD7B1, 0xE7, 0xA3, 0xA1
#: Track number in one byte, time after the cluster's in two, flags in one.
_BLOCK_HEAD_BYTES = 4
_USUAL_SCALE_NS = 1_000_000
MOST_BYTES = 16 << 20


class StreamError(Exception):
    """The bytes are no Matroska."""


class Block(NamedTuple):
    """A frame with its time in ns since the stream began."""

    stamp_ns: int
    data: bytes


class Matroska:
    """Takes a stream in pieces cut anywhere, and gives its frames."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._scale_ns = _USUAL_SCALE_NS
        self._cluster = 0

    def feed(self, data: bytes) -> list[Block]:
        """Take the next bytes; return the frames that ended in them.

        Raises:
            StreamError: what came is out of step; nothing more can be read.
        """
        self._held += data
        found: list[Block] = []
        begin = 0
        while (element := self._element(begin)) is not None:
            identity, begin, size = element
            if identity in _INSIDE:
                continue  # its length is often not known; what is in it comes next
            if identity in (_SIMPLE_BLOCK, _BLOCK):
                found.append(self._block(begin, size))
            elif identity == _SCALE:
                self._scale_ns = self._number(begin, size)
            elif identity == _TIMESTAMP:
                self._cluster = self._number(begin, size)
            begin += size
        return found

    def _element(self, begin: int) -> tuple[int, int, int] | None:
        """Return identity, begin of the content and its length, if all of it is here.

        What lies before is let go if it is not: a frame is moved once.
        """
        identity = self._variable(begin, keeps_mark=True)
        length = None if identity is None else self._variable(begin + identity[1])
        if identity is not None and length is not None:
            inner = begin + identity[1] + length[1]
            if identity[0] in _INSIDE:
                return identity[0], inner, 0
            if length[0] > MOST_BYTES:
                raise StreamError(f"an element of {length[0]} bytes")
            if inner + length[0] <= len(self._held):
                return identity[0], inner, length[0]
        del self._held[:begin]
        return None

    def _variable(self, begin: int, *, keeps_mark: bool = False) -> tuple[int, int] | None:
        """Return a number of variable length and its length, if all of it is here."""
        if begin >= len(self._held):
            return None
        first = self._held[begin]
        if not first:
            raise StreamError("a length of more than eight bytes")
        size = 9 - first.bit_length()
        if begin + size > len(self._held):
            return None
        value = self._number(begin, size)
        return (value if keeps_mark else value - (1 << 7 * size)), size

    def _number(self, begin: int, size: int) -> int:
        return int.from_bytes(self._held[begin : begin + size], "big")

    def _block(self, begin: int, size: int) -> Block:
        after = int.from_bytes(self._held[begin + 1 : begin + 3], "big", signed=True)
        data = bytes(memoryview(self._held)[begin + _BLOCK_HEAD_BYTES : begin + size])
        return Block((self._cluster + after) * self._scale_ns, data)
