"""Finds the speed of a receiver's line: a rate is right when a sentence with its checksum comes.

At a wrong rate a UART makes garbage of what comes, but never silence. So a line without a single
byte is silent at every rate, and only one that is asked something is worth listening to elsewhere.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from drivers.base import DeviceAbsentError, StillLookingError, WrongDeviceError
from drivers.nmea_link import Link, describe
from drivers.ubx import Frames

if TYPE_CHECKING:
    from collections.abc import Iterable

#: As receivers leave their factories (9600: most; 38400: u-blox 9 and 10; 115200: modules for
#: drones, and what people set), then the rest of the usual ones.
USUAL_BAUD = (9600, 115_200, 38_400, 57_600, 4800, 230_400, 460_800, 921_600, 19_200)
#: A sentence of an epoch is at least so long: a rate that cannot carry it comes last.
LEAST_EPOCH_BYTES = 70
BITS_PER_BYTE = 10
#: How long to wait for a first byte: more than a cold start's first second and a usual period; for
#: slower receivers longer, but a try has an end.
SILENT_S, MOST_SILENT_S = 2.5, 8.0
#: How long to listen from the first byte on: a period, and so much for one whole burst.
BURST_S = 0.3
#: How long one call may take; the next one goes on where it stopped.
SEARCH_S = 6.0
#: How long an answer may take that was asked for, on a line that is silent otherwise.
ANSWER_S = 0.6


class BaudSearch:
    """Tries one rate after the other; the one that worked last comes first the next time.

    Args:
        rate_hz: epochs per second that are expected.
        slowest_hz: epochs per second that it may have before it is set up.
        first_baud: the rate to begin with, or None.
    """

    def __init__(self, rate_hz: float, slowest_hz: float, first_baud: int | None = None) -> None:
        least_baud = rate_hz * LEAST_EPOCH_BYTES * BITS_PER_BYTE
        usual = sorted(USUAL_BAUD, key=lambda baud: baud < least_baud)
        self._rates = deque(usual)
        if first_baud is not None:
            self.expect(first_baud)
        self._listen_s = min(BURST_S + 1 / slowest_hz, MOST_SILENT_S)
        self._silent_s = min(max(SILENT_S, self._listen_s), MOST_SILENT_S)
        self._heard: dict[int, bytes] = {}
        self._is_mute = False  # it says nothing unless it is asked, or nothing at all

    @property
    def next_baud(self) -> int:
        """The rate that is tried next."""
        return self._rates[0]

    def expect(self, baud: int) -> None:
        """Begin with a rate the next time: the receiver was set to it."""
        self._rates = deque([baud, *(one for one in self._rates if one != baud)])

    def find(self, link: Link, question: bytes = b"") -> int:
        """Set the rate at which sentences come, and return it.

        Args:
            link: the open line.
            question: is asked at each rate; an answer in UBX is as good as a sentence.

        Raises:
            WrongDeviceError: there is none; the text says what was heard at each.
            DeviceAbsentError: the line is silent.
            StillLookingError: `SEARCH_S` are over and rates are left.
            DeviceLostError: the device is gone.
        """
        deadline_s = time.monotonic() + SEARCH_S
        while time.monotonic() < deadline_s:
            baud = self._rates[0]
            if self._tries(link, baud, question):
                self._heard.clear()
                self._is_mute = False
                return baud
            self._rates.rotate(-1)
            self._is_mute = not link.heard
            if self._is_mute and not question:
                raise DeviceAbsentError(
                    f"{link.port.path}: not a byte in {self._silent_s:g} s: no power, no wire from"
                    " its TX to our RX, or not yet awake"
                )
            self._heard[baud] = link.heard
            if len(self._heard) == len(self._rates):
                raise WrongDeviceError(self._found_nothing(link))
        raise StillLookingError(
            f"{link.port.path}: no sentence at {_list(self._heard)} baud; other rates come next"
        )

    def _tries(self, link: Link, baud: int, question: bytes) -> bool:
        link.set_baud(baud)
        if question:
            link.say(question)
        frames = Frames()
        end_s = time.monotonic() + (ANSWER_S if self._is_mute and question else self._silent_s)
        has_begun = False
        while (left_s := end_s - time.monotonic()) > 0:
            data = link.listen(left_s)
            if link.is_proven or (question and frames.feed(data)):
                return True
            if data and not has_begun:
                has_begun = True
                end_s = time.monotonic() + self._listen_s
        return False

    def _found_nothing(self, link: Link) -> str:
        heard = {baud: data for baud, data in self._heard.items() if data}
        rates = _list(self._heard)
        self._heard.clear()
        if not heard:
            return f"{link.port.path}: nothing answers at {rates} baud"
        # At the right rate of a device that speaks something else most of it can be read.
        best = max(heard, key=lambda baud: sum(chr(byte).isprintable() for byte in heard[baud]))
        return (
            f"{link.port.path}: no NMEA sentence at {rates} baud; at {best} baud"
            f" {describe(heard[best])}"
        )


def _list(rates: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(rates)))
