"""Sets a GPS receiver up: its speed, sentences, rate and the model of a vehicle.

Each setting goes to RAM, waits for its acknowledge and is said again if none comes: receivers miss
what is said while they change their speed, and their answers stand behind what they are sending.
The speed comes first, as 10 Hz do not fit into the 9600 baud of the factory.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from drivers import pmtk, ubx
from drivers.base import DeviceLostError, WrongDeviceError
from drivers.nmea_sentence import parse
from drivers.uart import BITS_PER_BYTE, Lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.nmea_link import Link

#: How long to wait for an answer, and how often to ask.
ANSWER_S, TRIES, BAUD_TRIES = 1.0, 4, 2
#: How long the whole of it may take.
SETUP_S = 6.0
#: How long a receiver may take to change its speed; what is said meanwhile is lost.
CHANGE_S = 0.2
#: The rate that a receiver is set to where none is given: it carries every usual set at 25 Hz.
USUAL_BAUD = 115_200
SENTENCES = ("RMC", "GGA", "GSA", "VTG")
#: Bytes of each sentence in an epoch, as long as it gets; GSA comes for two systems.
SENTENCE_BYTES = {
    "RMC": 76, "GGA": 82, "GSA": 136, "VTG": 46, "GLL": 54, "GNS": 84, "GST": 64, "ZDA": 40,
}  # fmt: skip
#: Of a receiver that is left alone: RMC, GGA, GSA and VTG; GSV and the like come on top.
USUAL_EPOCH_BYTES = 300


class Dialect:
    """One make's language; as it is, none.

    Attributes:
        vendor: the make.
        sentences: what its receivers can send.
    """

    vendor: str
    sentences: frozenset[str]

    def question(self) -> bytes:
        """Return what asks for make, model and firmware."""
        raise NotImplementedError

    def listen(self) -> Callable[[bytes], list[tuple[str, ...]]]:
        """Return what finds answers in the bytes that come.

        They are ``("version", model, firmware)``, ``("done", name)`` or ``("refused", name, why)``.
        """
        raise NotImplementedError

    def set_baud(self, baud: int) -> tuple[str, bytes]:
        """Return what sets the speed, behind the name of its refusal."""
        raise NotImplementedError

    def settings(
        self, sentences: tuple[str, ...], period_ms: int, baud: int
    ) -> list[tuple[str, bytes]]:
        """Return every other setting behind the name of its acknowledge."""
        raise NotImplementedError


class Ublox(Dialect):
    """u-blox 5 to 10; keys where the receiver knows them."""

    vendor = "u-blox"
    sentences = frozenset(SENTENCE_BYTES)

    def __init__(self) -> None:
        self._by_keys = False

    def question(self) -> bytes:
        """Return a poll of MON-VER."""
        return ubx.frame(ubx.MON_VER)

    def listen(self) -> Callable[[bytes], list[tuple[str, ...]]]:
        """Find MON-VER, ACK and NAK."""
        frames = ubx.Frames()
        return lambda data: [
            answer for one in frames.feed(data) if (answer := self._answer(one)) is not None
        ]

    def _answer(self, frame: ubx.Frame) -> tuple[str, ...] | None:
        if frame.kind == ubx.MON_VER:
            version = ubx.version(frame.payload)
            self._by_keys = version.protocol >= ubx.KEYS_PROTOCOL
            return "version", version.model, f"{version.firmware}, protocol {version.protocol:g}"
        if frame.kind == ubx.ACK:
            return "done", frame.payload.hex()
        if frame.kind == ubx.NAK:
            return "refused", frame.payload.hex(), "NAK"
        return None

    def set_baud(self, baud: int) -> tuple[str, bytes]:
        """Return CFG-PRT or the key of UART1."""
        return _named(ubx.set_baud(baud, by_keys=self._by_keys))

    def settings(
        self, sentences: tuple[str, ...], period_ms: int, baud: int
    ) -> list[tuple[str, bytes]]:
        """Return CFG-PRT, CFG-MSG, CFG-RATE and CFG-NAV5, or three times CFG-VALSET."""
        frames = ubx.settings(sentences, period_ms, baud, by_keys=self._by_keys)
        return [_named(one) for one in frames]


def _named(frame: bytes) -> tuple[str, bytes]:
    return frame[2:4].hex(), frame  # class and id, which the acknowledge repeats


class MediaTek(Dialect):
    """MediaTek MT33xx, Airoha AG33xx and modules with them, such as Quectel L76 and L80."""

    vendor = "MediaTek"
    sentences = frozenset(pmtk.SENTENCE_PLACES) & frozenset(SENTENCE_BYTES)

    def question(self) -> bytes:
        """Return PMTK605."""
        return pmtk.command(pmtk.ASK_RELEASE)

    def listen(self) -> Callable[[bytes], list[tuple[str, ...]]]:
        """Find PMTK705 and PMTK001."""
        lines = Lines()
        return lambda data: [
            answer
            for line, _ in lines.feed(data, 0)
            if parse(line) is not None
            and (answer := self._answer(pmtk.fields(line) or ("",))) is not None
        ]

    def _answer(self, fields: tuple[str, ...]) -> tuple[str, ...] | None:
        name, first, second, third = (*fields, "", "", "")[:4]
        if name == pmtk.RELEASE:
            return "version", third or "MT33xx", first
        if name != pmtk.ACK:
            return None
        number, flag = first, second
        if flag == pmtk.DONE:
            return "done", number
        return "refused", number, pmtk.FLAGS.get(flag, flag)

    def set_baud(self, baud: int) -> tuple[str, bytes]:
        """Return PMTK251."""
        return pmtk.SET_BAUD, pmtk.set_baud(baud)

    def settings(
        self, sentences: tuple[str, ...], period_ms: int, baud: int
    ) -> list[tuple[str, bytes]]:
        """Return PMTK314 and PMTK220; what leaves a port is always NMEA."""
        numbers = (pmtk.SET_SENTENCES, pmtk.SET_RATE)
        return list(zip(numbers, pmtk.settings(sentences, period_ms), strict=True))


DIALECTS: dict[str, type[Dialect]] = {"ublox": Ublox, "mediatek": MediaTek}


def epoch_bytes(sentences: tuple[str, ...]) -> int:
    """Return how many bytes an epoch of these sentences has at most."""
    return sum(SENTENCE_BYTES[name] for name in sentences)


def least_baud(sentences: tuple[str, ...], rate_hz: float) -> int:
    """Return the bits per second that these sentences need at a rate."""
    return round(epoch_bytes(sentences) * rate_hz * BITS_PER_BYTE)


def set_up(
    link: Link, dialect: Dialect, *, sentences: tuple[str, ...], rate_hz: float, baud: int
) -> tuple[str, str]:
    """Set a receiver up, at whose speed the line is.

    Args:
        link: the open line.
        dialect: how to speak to it.
        sentences: those that come.
        rate_hz: epochs per second.
        baud: bits per second from then on.

    Returns:
        Its model and its firmware.

    Raises:
        WrongDeviceError: it does not answer, or refuses a setting.
        DeviceLostError: it stopped answering, or is gone.
    """
    talk = _Talk(link, dialect)
    version = talk.ask("version", dialect.question())
    if version is None:
        raise WrongDeviceError(
            f"{link.port.path}: speaks at {link.port.baud} baud and does not answer as a"
            f" {dialect.vendor}: another make, or no wire from our TX to its RX"
        )
    if baud != link.port.baud:
        _change_baud(link, talk, dialect, baud)
    for name, setting in dialect.settings(sentences, round(1000 / rate_hz), baud):
        if talk.ask(name, setting) is None:
            raise DeviceLostError(f"{link.port.path}: setting {name} was not acknowledged")
    return version[1], version[2]


def _change_baud(link: Link, talk: _Talk, dialect: Dialect, baud: int) -> None:
    was_baud = link.port.baud
    for _ in range(TRIES):
        talk.refusal(*dialect.set_baud(baud))
        link.set_baud(baud)
        if talk.ask("version", dialect.question(), BAUD_TRIES) is not None:
            return
        link.set_baud(was_baud)  # it may not have heard it
    raise DeviceLostError(f"{link.port.path}: no answer any more since it was set to {baud} baud")


class _Talk:
    """Questions and answers, for `SETUP_S` at most."""

    def __init__(self, link: Link, dialect: Dialect) -> None:
        self._link = link
        self._vendor = dialect.vendor
        self._listen = dialect.listen()
        self._end_s = time.monotonic() + SETUP_S

    def ask(self, name: str, question: bytes, tries: int = TRIES) -> tuple[str, ...] | None:
        """Say something until it is answered; None if it never is."""
        for _ in range(tries):
            answer = self._say(name, question, ANSWER_S)
            if answer is not None:
                return answer
        return None

    def refusal(self, name: str, setting: bytes) -> None:
        """Say what is answered only by a refusal, if by anything."""
        self._say(name, setting, CHANGE_S)

    def _say(self, name: str, words: bytes, within_s: float) -> tuple[str, ...] | None:
        self._link.say(words)
        until_s = min(time.monotonic() + within_s, self._end_s)
        while (left_s := until_s - time.monotonic()) > 0:
            for answer in self._listen(self._link.listen(left_s)):
                if self._is_for(name, answer):
                    return answer
        return None

    def _is_for(self, name: str, answer: tuple[str, ...]) -> bool:
        kind, about, *why = answer
        if kind == "refused" and about == name:
            raise WrongDeviceError(
                f"{self._link.port.path}: this {self._vendor} refuses setting {name}: {why[0]}"
            )
        return name in (kind, about)
