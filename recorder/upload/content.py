"""The digest of what a topic holds, over its columns' values.

It depends on the values alone: not on batches, nor on any library's layout. Whoever reads the topic
back can work it out again. For each leaf of the schema, by its dotted path (a list's elements have
the path of the list and ``[]``), bytes are gathered over all rows in order:

    what may be null      ``path?``  one byte for each value, 1 if it is there; structs too
    numbers, booleans     ``path``   little-endian, one byte for a boolean, the one quiet NaN
    texts, lists          ``path#``  the length of each as int32: in UTF-8 bytes, or in elements
    texts                 ``path``   the UTF-8 bytes
    binary (pictures)     ``path``   the CRC-32 (zlib) of each as uint32, which is what cameras'
                                     lanes store at capture

Values that are null, or lie in a null, add nothing but the byte that says so. The digest is SHA-256
over path (UTF-8), a zero byte, and the SHA-256 of the gathered bytes, for each in the paths' order.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAN = float("nan")
_CHUNK_BYTES = 65_536


class ContentDigest:
    """Takes one topic's batches in order."""

    def __init__(self) -> None:
        self._leaves: dict[str, hashlib._Hash] = {}
        # Of most leaves with flags all bytes are alike: these are only counted, byte and how often.
        self._alike: dict[str, tuple[bytes, int]] = {}
        self._met: set[str] = set()  # paths whose leaves are all there

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the next rows; a batch without any counts as none."""
        if not batch.num_rows:
            return
        for field, column in zip(batch.schema, batch.columns, strict=True):
            self._add(field.name, field, column)

    @property
    def text(self) -> str:
        """The digest of all rows so far, such as ``sha256:…``."""
        found = {path: one.digest() for path, one in self._leaves.items()}
        alike = {one: _repeated(*one).digest() for one in set(self._alike.values())}
        found |= {path: alike[one] for path, one in self._alike.items()}
        whole = hashlib.sha256()
        for path in sorted(found):
            whole.update(path.encode() + b"\0" + found[path])
        return f"sha256:{whole.hexdigest()}"

    def _add(self, path: str, field: pa.Field, values: pa.Array) -> None:
        if field.nullable:
            self._add_flags(f"{path}?", values)
        if values.null_count:
            values = values.drop_null()
        if len(values) or path not in self._met:
            self._met.add(path)
            self._add_known(path, field.type, values)

    def _add_flags(self, path: str, values: pa.Array) -> None:
        """Take a byte for each value, 1 if it is there."""
        count = len(values)
        byte = {0: b"\1", count: b"\0"}.get(values.null_count)
        if path not in self._leaves:
            former, so_far = self._alike.pop(path, (byte, 0))
            if byte is not None and (former == byte or not so_far):
                self._alike[path] = (byte, so_far + count)
                return
            self._leaves[path] = _repeated(former or b"", so_far)
        self._feed(path, byte * count if byte else _plain(pc.cast(values.is_valid(), pa.uint8())))

    def _add_known(self, path: str, kind: pa.DataType, values: pa.Array) -> None:
        if pa.types.is_struct(kind):
            for inner, column in zip(kind, values.flatten(), strict=True):
                self._add(f"{path}.{inner.name}", inner, column)
        elif pa.types.is_list(kind):
            self._feed(f"{path}#", _plain(pc.list_value_length(values)))
            self._add(f"{path}[]", kind.value_field, values.flatten())
        elif pa.types.is_string(kind):
            self._feed(f"{path}#", _plain(pc.binary_length(values)))
            self._feed(path, _text(values))
        elif pa.types.is_binary(kind):
            self._feed(path, b"".join(_checksum(one) for one in values))
        else:
            self._feed(path, _number(values))

    def _feed(self, path: str, content: bytes | memoryview) -> None:
        self._leaves.setdefault(path, hashlib.sha256()).update(content)


def digest(batches: Iterable[pa.RecordBatch]) -> str:
    """Return the digest of a topic's batches."""
    found = ContentDigest()
    for batch in batches:
        found.add(batch)
    return found.text


def is_in_share(digest: str, share: float) -> bool:
    """Tell whether a part is one of those that are read back: each time the same ones.

    >>> is_in_share("sha256:7f", 0.5), is_in_share("sha256:80", 0.5), is_in_share("sha256:ff", 1)
    (True, False, True)
    """
    digits = digest.rpartition(":")[2][:8]
    return int(digits, 16) < share * float(1 << 4 * len(digits))


def _repeated(byte: bytes, count: int) -> hashlib._Hash:
    """Return the hash of one byte that comes so often."""
    found = hashlib.sha256()
    for begin in range(0, count, _CHUNK_BYTES):
        found.update(byte * min(_CHUNK_BYTES, count - begin))
    return found


def _number(values: pa.Array) -> bytes | memoryview:
    if pa.types.is_boolean(values.type):
        return _plain(pc.cast(values, pa.uint8()))
    if pa.types.is_floating(values.type):
        nan = pc.is_nan(values)
        if nan.true_count:
            values = pc.if_else(nan, pa.scalar(_NAN, values.type), values)
    return _plain(values)


def _plain(values: pa.Array) -> bytes | memoryview:
    """Return the bytes of values of one width, none of them null."""
    if not len(values):
        return b""
    width = values.type.bit_width // 8
    begin = values.offset * width
    return memoryview(values.buffers()[1])[begin : begin + len(values) * width]


def _text(values: pa.StringArray) -> bytes | memoryview:
    if not len(values):
        return b""
    _, offsets, content = values.buffers()
    first, last = (
        struct.unpack_from("<i", offsets, 4 * (values.offset + at))[0] for at in (0, len(values))
    )
    return memoryview(content)[first:last] if content is not None else b""


def _checksum(value: pa.BinaryScalar) -> bytes:
    return struct.pack("<I", zlib.crc32(value.as_buffer()))
