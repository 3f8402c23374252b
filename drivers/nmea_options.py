"""How a receiver is, or is to be, set: what fits together, and what does not fit into its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drivers.receiver_setup import (
    DIALECTS,
    SENTENCES,
    USUAL_BAUD,
    USUAL_EPOCH_BYTES,
    epoch_bytes,
    least_baud,
)
from drivers.uart import BITS_PER_BYTE

if TYPE_CHECKING:
    from drivers.receiver_setup import Dialect

#: The fastest that receivers of both makes are set to; and a period has whole ms.
MOST_SET_UP_HZ = 25
MS_PER_SECOND = 1000
#: Speeds that a line may have: down to teletypes', up to the kernel's B4000000.
BAUDS = range(50, 4_000_001)
#: A rate is a whole number of ms if it is so close to one: 1 s of error in a day at 1 Hz.
CLOSE_MS = 1e-2
#: One of each: without the first there is no fix, without the second no date.
POSITIONS, DATES = frozenset({"RMC", "GGA", "GNS", "GLL"}), frozenset({"RMC", "ZDA"})


@dataclass(frozen=True)
class Options:
    """A receiver's set-up.

    Args:
        baud: bits per second, or ``auto``.
        rate_hz: epochs per second.
        receiver: ``leave``, ``ublox`` or ``mediatek``.
        sentences: what is sent, where it is set up.

    Raises:
        ValueError: something of it does not fit; the text begins with the option.
    """

    baud: int | Literal["auto"] = "auto"
    rate_hz: float = 10.0
    receiver: str = "leave"
    sentences: tuple[str, ...] = SENTENCES

    def __post_init__(self) -> None:
        if self.baud != "auto" and self.baud not in BAUDS:
            raise ValueError(
                f"baud is {self.baud}; must be {BAUDS.start} to {BAUDS.stop - 1} bits per"
                " second, or 'auto'"
            )
        if self.dialect is None:
            if tuple(self.sentences) != SENTENCES:
                raise ValueError(
                    f"sentences is {list(self.sentences)}; a receiver that is left alone sends what"
                    " it sends: set receiver to 'ublox' or 'mediatek'"
                )
            return
        self._check_sentences(self.dialect.sentences)
        period_ms = MS_PER_SECOND / self.rate_hz
        is_whole = abs(period_ms - round(period_ms)) < CLOSE_MS
        if not 1 <= self.rate_hz <= MOST_SET_UP_HZ or not is_whole:
            raise ValueError(
                f"rate_hz is {self.rate_hz:g}; a receiver is set to 1 to {MOST_SET_UP_HZ} Hz, a"
                " whole number of milliseconds apart: 1, 2, 4, 5, 8, 10, 20, 25"
            )
        least = least_baud(self.sentences, self.rate_hz)
        if self.set_baud < least:
            raise ValueError(
                f"baud is {self.set_baud}; {self.rate_hz:g} Hz of {', '.join(self.sentences)} need"
                f" {least}: raise it, or lower rate_hz or leave out sentences"
            )

    def _check_sentences(self, known: frozenset[str]) -> None:
        given = frozenset(self.sentences)
        if not given <= known or not given & POSITIONS or not given & DATES:
            raise ValueError(
                f"sentences is {list(self.sentences)}; {self.receiver} can send"
                f" {', '.join(sorted(known))}, and needed are one of {', '.join(sorted(POSITIONS))}"
                f" and one of {', '.join(sorted(DATES))}"
            )

    @property
    def dialect(self) -> Dialect | None:
        """A new speaker of its language, None if it is left alone."""
        return DIALECTS[self.receiver]() if self.receiver in DIALECTS else None

    @property
    def must_search(self) -> bool:
        """Whether its speed has to be found out first."""
        return self.baud == "auto" or self.receiver != "leave"

    @property
    def set_baud(self) -> int:
        """Bits per second that it is set to."""
        return USUAL_BAUD if self.baud == "auto" else self.baud

    @property
    def likely_baud(self) -> int | None:
        """Bits per second that it probably has, None if nothing says so."""
        return None if self.baud == "auto" and self.receiver == "leave" else self.set_baud

    @property
    def slowest_hz(self) -> float:
        """Epochs per second that it may have before it is set up: 1 as from the factory."""
        return self.rate_hz if self.receiver == "leave" else min(1.0, self.rate_hz)

    def load(self, measured: tuple[float, int] | None) -> float | None:
        """Return the share of the line that its epochs need.

        Args:
            measured: bytes of an epoch and bits per second, as found; None: by what is set.

        Returns:
            Above 1 if they do not fit; None if the speed is not known.
        """
        if measured is None:
            if self.likely_baud is None:
                return None
            is_set = self.receiver != "leave"
            measured = (
                epoch_bytes(self.sentences) if is_set else USUAL_EPOCH_BYTES,
                self.likely_baud,
            )
        size_bytes, baud = measured
        return size_bytes * self.rate_hz * BITS_PER_BYTE / baud
