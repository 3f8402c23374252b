"""u-blox's binary protocol: frames, and the few messages by which a receiver is set up. Pure.

A frame is ``b5 62``, class, id, length of the payload (two bytes, little-endian), the payload and
two bytes of Fletcher checksum over all between. Everything is written to the receiver's RAM: it is
forgotten without power, and wears no flash.

There are two generations: receivers with protocol 27 and later (u-blox 9 and 10) are set by keys
(CFG-VALSET), those before by one message for each matter (CFG-PRT, CFG-RATE, CFG-MSG, CFG-NAV5).

Source: u-blox 8 / M8 protocol description UBX-13003221, sections 32.4, 32.9, 32.10, 32.16.14;
u-blox F9 HPG 1.32 interface description UBX-22008968, sections 3.10.5, 3.10.26 and 6.9.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

SYNC = b"\xb5\x62"
#: Longer than any frame that a receiver sends unasked; beyond it the length is taken for garbage.
MOST_PAYLOAD_BYTES = 1024
_HEAD = struct.Struct("<2sBBH")
_CHECK_BYTES = 2

ACK, NAK = (0x05, 0x01), (0x05, 0x00)
CFG_PRT, CFG_MSG, CFG_RATE = (0x06, 0x00), (0x06, 0x01), (0x06, 0x08)
CFG_NAV5, CFG_VALSET = (0x06, 0x24), (0x06, 0x8A)
MON_VER = (0x0A, 0x04)

#: Protocol from which on a receiver is set by keys.
KEYS_PROTOCOL = 27.0
AUTOMOTIVE = 4
UART1, EIGHT_N_ONE = 1, 0x08D0
UBX_NMEA_RTCM, UBX_NMEA = 0x07, 0x03
GPS_TIME = 1
NMEA_CLASS = 0xF0
#: The number of each sentence in CFG-MSG …
SENTENCE_IDS = {
    "GGA": 0x00, "GLL": 0x01, "GSA": 0x02, "GSV": 0x03, "RMC": 0x04, "VTG": 0x05, "GST": 0x07,
    "ZDA": 0x08, "GNS": 0x0D,
}  # fmt: skip
#: … and its key for UART1; that for the receiver's own USB is two more.
SENTENCE_KEYS = {
    "GGA": 0x209100BB, "GLL": 0x209100CA, "GSA": 0x209100C0, "GSV": 0x209100C5, "RMC": 0x209100AC,
    "VTG": 0x209100B1, "GST": 0x209100D4, "ZDA": 0x209100D9, "GNS": 0x209100B6,
}  # fmt: skip
USB_AFTER_UART1 = 2
KEY_UART1_BAUD, KEY_DYNAMIC_MODEL = 0x40520001, 0x20110021
#: Whether NMEA leaves UART1, and the receiver's own USB, at all.
KEY_UART1_NMEA, KEY_USB_NMEA = 0x10740002, 0x10780002
KEY_RATE_MEASURE_MS, KEY_RATE_NAVIGATION = 0x30210001, 0x30210002
RAM = 1
_KEY_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I"}
_VERSION_HEAD_BYTES, _EXTENSION_BYTES, _SOFTWARE_BYTES = 40, 30, 30


class Frame(NamedTuple):
    """One message.

    Args:
        kind: its class and id.
        payload: its bytes.
    """

    kind: tuple[int, int]
    payload: bytes


class Version(NamedTuple):
    """What a receiver says of itself.

    Args:
        model: such as ``NEO-M8N``; ``u-blox`` if it does not say.
        firmware: such as ``SPG 3.01``, else the text of the software's version.
        protocol: such as 18.0; 0.0 if it does not say (older than 15).
    """

    model: str
    firmware: str
    protocol: float


def _checksum(body: bytes) -> bytes:
    first = second = 0
    for byte in body:
        first = (first + byte) & 0xFF
        second = (second + first) & 0xFF
    return bytes((first, second))


def frame(kind: tuple[int, int], payload: bytes = b"") -> bytes:
    """Return a whole frame."""
    body = _HEAD.pack(SYNC, *kind, len(payload))[2:] + payload
    return SYNC + body + _checksum(body)


class Frames:
    """Finds frames in a stream that also holds sentences and noise, cut anywhere."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; return the frames that ended with them."""
        self._kept += data
        found: list[Frame] = []
        while (begin := self._kept.find(SYNC)) >= 0:
            self._kept = self._kept[begin:]
            size = self._size()
            if size is None or len(self._kept) < size:
                return found
            body = self._kept[2 : size - _CHECK_BYTES]
            if _checksum(body) == self._kept[size - _CHECK_BYTES : size]:
                found.append(Frame((body[0], body[1]), body[4:]))
                self._kept = self._kept[size:]
            else:
                self._kept = self._kept[2:]
        self._kept = self._kept[-1:]  # it may be half a sync
        return found

    def _size(self) -> int | None:
        """Return the size that the frame under way has to have; None if too little of it came."""
        if len(self._kept) < _HEAD.size:
            return None
        size: int = _HEAD.unpack_from(self._kept)[3]
        return _HEAD.size + (size if size <= MOST_PAYLOAD_BYTES else 0) + _CHECK_BYTES


def version(payload: bytes) -> Version:
    """Read the payload of MON-VER."""
    software = _text(payload[:_SOFTWARE_BYTES])
    starts = range(_VERSION_HEAD_BYTES, len(payload), _EXTENSION_BYTES)
    facts = dict(
        re.split("[= ]", _text(payload[start : start + _EXTENSION_BYTES]) + "=", maxsplit=1)
        for start in starts
    )
    clean = {key: value.rstrip("= ") for key, value in facts.items()}
    protocol = re.match(r"\d+(\.\d+)?", clean.get("PROTVER", ""))
    return Version(
        clean.get("MOD") or "u-blox",
        clean.get("FWVER") or software,
        float(protocol[0]) if protocol else 0.0,
    )


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("ascii", "replace").strip()


def set_baud(baud: int, *, by_keys: bool) -> bytes:
    """Return what sets UART1's bits per second; the answer may come at the old or the new rate."""
    if by_keys:
        return _set_keys({KEY_UART1_BAUD: baud})
    return frame(
        CFG_PRT,
        struct.pack("<BxHIIHHHxx", UART1, 0, EIGHT_N_ONE, baud, UBX_NMEA_RTCM, UBX_NMEA, 0),
    )


def settings(
    sentences: tuple[str, ...], period_ms: int, baud: int, *, by_keys: bool
) -> list[bytes]:
    """Return what sets NMEA, sentences, rate and the model of a vehicle, each acknowledged.

    Args:
        sentences: those that come, keys of `SENTENCE_IDS`; the others there are switched off.
        period_ms: time between two epochs.
        baud: bits per second that it has already: a port is only set as a whole.
        by_keys: whether the receiver has CFG-VALSET.
    """
    wanted = {name: int(name in sentences) for name in SENTENCE_IDS}
    if by_keys:
        keys = {SENTENCE_KEYS[name]: on for name, on in wanted.items()}
        keys |= {key + USB_AFTER_UART1: on for key, on in keys.items()}
        keys |= {KEY_UART1_NMEA: 1, KEY_USB_NMEA: 1}
        rate = {KEY_RATE_MEASURE_MS: period_ms, KEY_RATE_NAVIGATION: 1}
        return [_set_keys(keys), _set_keys(rate), _set_keys({KEY_DYNAMIC_MODEL: AUTOMOTIVE})]
    return [
        set_baud(baud, by_keys=False),
        *(
            frame(CFG_MSG, bytes((NMEA_CLASS, SENTENCE_IDS[name], on)))
            for name, on in wanted.items()
        ),
        frame(CFG_RATE, struct.pack("<HHH", period_ms, 1, GPS_TIME)),
        frame(CFG_NAV5, struct.pack("<HB33x", 1, AUTOMOTIVE)),
    ]


def _set_keys(values: dict[int, int]) -> bytes:
    parts = [struct.pack(f"<I{_KEY_FORMATS[key >> 28]}", key, on) for key, on in values.items()]
    return frame(CFG_VALSET, bytes((0, RAM, 0, 0)) + b"".join(parts))


def read_keys(payload: bytes) -> dict[int, int] | None:
    """Read the keys and values of CFG-VALSET's payload; None if they are cut short or unknown."""
    values: dict[int, int] = {}
    at = 4
    while at < len(payload):
        try:
            (key,) = struct.unpack_from("<I", payload, at)
            form = struct.Struct("<" + _KEY_FORMATS[key >> 28])
            (values[key],) = form.unpack_from(payload, at + 4)
        except (struct.error, KeyError):
            return None
        at += 4 + form.size
    return values
