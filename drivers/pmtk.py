"""MediaTek's commands (Airoha's since), by which a receiver is set up: sentences ``$PMTK…``. Pure.

All of it is forgotten without power. Their usual filter is the one for vehicles, so that there is
no dynamic model to be set.

Source: MediaTek / GlobalTop PMTK command packet, revision A11: 001, 220, 251, 314, 605, 705;
NMEA manual for Fastrax IT500, section 2.26 (the 19 places of 314).
"""

from __future__ import annotations

import functools
import operator
import re

#: Where each sentence stands in PMTK314, of 19 places.
SENTENCE_PLACES = {
    "GLL": 0, "RMC": 1, "VTG": 2, "GGA": 3, "GSA": 4, "GSV": 5, "GST": 7, "ZDA": 17,
}  # fmt: skip
PLACES = 19
ACK, STARTED, RELEASE = "PMTK001", "PMTK010", "PMTK705"
ASK_RELEASE, SET_RATE, SET_BAUD, SET_SENTENCES = "605", "220", "251", "314"
DONE = "3"
#: What an acknowledge says, by its flag.
FLAGS = {"0": "invalid", "1": "not supported", "2": "failed", DONE: "done"}

_COMMAND = re.compile(rb"\$(PMTK\d{3})((?:,[^*$]*)?)\*[0-9A-Fa-f]{2}\s*")


def sentence(body: str) -> bytes:
    """Return a sentence of its body: ``$``, body, checksum, CR LF."""
    raw = body.encode("ascii")
    return b"$%s*%02X\r\n" % (raw, functools.reduce(operator.xor, raw, 0))


def command(number: str, *values: object) -> bytes:
    """Return a command with its values."""
    return sentence(",".join([f"PMTK{number}", *map(str, values)]))


def fields(line: bytes) -> tuple[str, ...] | None:
    """Return the fields of a PMTK sentence, its name first; None if it is another one.

    Args:
        line: a sentence whose checksum was found right.
    """
    match = _COMMAND.fullmatch(line)
    if not match:
        return None
    values = match[2].decode("ascii", "replace").split(",")[1:]
    return (match[1].decode("ascii"), *values)


def set_baud(baud: int) -> bytes:
    """Return what sets the bits per second; nothing acknowledges it."""
    return command(SET_BAUD, baud)


def settings(sentences: tuple[str, ...], period_ms: int) -> list[bytes]:
    """Return what sets sentences and rate; each is acknowledged for itself.

    Args:
        sentences: those that come, keys of `SENTENCE_PLACES`; all others are switched off.
        period_ms: time between two epochs.
    """
    places = [0] * PLACES
    for name in sentences:
        places[SENTENCE_PLACES[name]] = 1
    return [command(SET_SENTENCES, *places), command(SET_RATE, period_ms)]
