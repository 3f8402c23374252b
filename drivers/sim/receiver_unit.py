"""What a receiver can be told: its sentences, rate, speed and model, in the makers' own languages.

`Unit` obeys nothing and plays everything, as most receivers do whom nobody speaks to. `Ublox` and
`MediaTek` begin as they leave the factory (9600 baud or 38400, once a second, more sentences than
needed), acknowledge, apply at once, and forget at a brown-out.

What they do not simulate: anything but the messages below (an unknown one gets a NAK, or "not
supported"), ports other than the first UART, the flash and the backup battery, the time that a
real one needs to change, and the limits of its output buffer.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from drivers import pmtk, ubx
from drivers.uart import Lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MILLI_NS = 1_000_000
FACTORY_BAUD, FACTORY_BAUD_BY_KEYS = 9600, 38_400
FACTORY_PERIOD_MS = 1000
FACTORY_SENTENCES = frozenset({"RMC", "GGA", "GSA", "VTG", "GLL", "GSV"})
PORTABLE, NMEA_OUT = 0, 2
_NAMES_BY_ID = {number: name for name, number in ubx.SENTENCE_IDS.items()}
_NAMES_BY_KEY = {key: name for name, key in ubx.SENTENCE_KEYS.items()}
_NAMES_BY_PLACE = {place: name for name, place in pmtk.SENTENCE_PLACES.items()}


class Unit:
    """A receiver that cannot be told anything.

    Args:
        baud: bits per second of its line.

    Attributes:
        baud: the speed in force.
        period_ms: time between two epochs; 0: whatever the source plays.
        sentences: kinds that leave it; None: all that the source plays.
        model: the dynamic model in force.
        speaks_nmea: whether sentences leave it at all.
        powered: how often it was powered on.
    """

    def __init__(self, baud: int = 115_200) -> None:
        self._factory_baud = baud
        self.powered = 0
        self._deaf = 0
        self._refuses = False
        self.power_on()

    def power_on(self) -> None:
        """Begin with what is set in the factory."""
        self.powered += 1
        self.baud = self._factory_baud
        self.period_ms = 0
        self.sentences: frozenset[str] | None = None
        self.model = PORTABLE
        self.speaks_nmea = True

    def greeting(self) -> bytes:
        """Return what it says when it gets power."""
        return b""

    def be_deaf(self, n: int) -> None:
        """Let the next `n` messages pass unheard."""
        self._deaf += n

    def refuse(self) -> None:
        """Refuse every setting from now on."""
        self._refuses = True

    def plays(self, offset_ns: int) -> bool:
        """Whether an epoch of the source falls on its own period."""
        return not self.period_ms or round(offset_ns / MILLI_NS) % self.period_ms == 0

    def says(self, data: bytes) -> bytes:
        """Return which of an epoch's sentences leave it."""
        if not self.speaks_nmea:
            return b""
        if self.sentences is None:
            return data
        lines = data.splitlines(keepends=True)
        return b"".join(
            line for line in lines if line[3:6].decode("ascii", "replace") in self.sentences
        )

    def hear(self, data: bytes) -> bytes:
        """Take what the other side sent, and return the answer."""
        return b""

    def _is_heard(self) -> bool:
        if self._deaf:
            self._deaf -= 1
            return False
        return True


class Ublox(Unit):
    """A u-blox receiver.

    Args:
        protocol: 18.0 for an M8, 27.0 and more for those that are set by keys.
    """

    def __init__(self, protocol: float = 18.0) -> None:
        self._protocol = protocol
        by_keys = protocol >= ubx.KEYS_PROTOCOL
        super().__init__(FACTORY_BAUD_BY_KEYS if by_keys else FACTORY_BAUD)

    def power_on(self) -> None:
        """Begin as from the factory: once a second, six kinds of sentences."""
        super().power_on()
        self.period_ms, self.sentences = FACTORY_PERIOD_MS, FACTORY_SENTENCES
        self._frames = ubx.Frames()

    def greeting(self) -> bytes:
        """Return the text that a u-blox sends first."""
        return pmtk.sentence("GNTXT,01,01,02,u-blox AG - www.u-blox.com")

    def hear(self, data: bytes) -> bytes:
        """Take UBX frames; answer each."""
        frames = [one for one in self._frames.feed(data) if self._is_heard()]
        return b"".join(self._answer(one) for one in frames)

    def _answer(self, request: ubx.Frame) -> bytes:
        if request.kind == ubx.MON_VER:
            return ubx.frame(ubx.MON_VER, self._version())
        is_done = not self._refuses and self._obey(request)
        return ubx.frame(ubx.ACK if is_done else ubx.NAK, bytes(request.kind))

    def _version(self) -> bytes:
        texts = ["FWVER=SPG 4.04", f"PROTVER={self._protocol:05.2f}", "MOD=SIM-9"]
        extensions = b"".join(text.encode().ljust(30, b"\0") for text in texts)
        return b"EXT CORE 1.00 (simulated)".ljust(30, b"\0") + b"00190000\0\0" + extensions

    def _obey(self, request: ubx.Frame) -> bool:
        by_keys = self._protocol >= ubx.KEYS_PROTOCOL
        if request.kind == ubx.CFG_VALSET:
            return by_keys and self._set_keys(ubx.read_keys(request.payload))
        try:
            return not by_keys and self._set(request)
        except struct.error:
            return False

    def _set(self, request: ubx.Frame) -> bool:
        kind, payload = request
        if kind == ubx.CFG_PRT:  # at once, so that its acknowledge comes at the new speed
            port, self.baud, speaks = struct.unpack("<B7xI2xH4x", payload)
            self.speaks_nmea = bool(speaks & NMEA_OUT)
            return bool(port == ubx.UART1)
        if kind == ubx.CFG_MSG:
            group, number, rate = struct.unpack("<BBB", payload)
            return group == ubx.NMEA_CLASS and self._switch([(_NAMES_BY_ID.get(number), rate)])
        if kind == ubx.CFG_RATE:
            self.period_ms = struct.unpack("<HHH", payload)[0]
            return True
        if kind == ubx.CFG_NAV5:
            mask, self.model = struct.unpack("<HB33x", payload)
            return bool(mask & 1)
        return False

    def _set_keys(self, values: dict[int, int] | None) -> bool:
        for key, value in (values or {}).items():
            if key == ubx.KEY_UART1_BAUD:
                self.baud = value
            elif key == ubx.KEY_RATE_MEASURE_MS:
                self.period_ms = value
            elif key == ubx.KEY_DYNAMIC_MODEL:
                self.model = value
            elif key == ubx.KEY_UART1_NMEA:
                self.speaks_nmea = bool(value)
            else:
                self._switch([(_NAMES_BY_KEY.get(key), value)])
        return values is not None

    def _switch(self, names: Iterable[tuple[str | None, int]]) -> bool:
        assert self.sentences is not None
        for name, rate in names:
            if name is None:
                return False
            self.sentences = (self.sentences | {name}) if rate else (self.sentences - {name})
        return True


class MediaTek(Unit):
    """A receiver with MediaTek's command language."""

    def __init__(self) -> None:
        super().__init__(FACTORY_BAUD)

    def power_on(self) -> None:
        """Begin as from the factory."""
        super().power_on()
        self.period_ms, self.sentences = FACTORY_PERIOD_MS, FACTORY_SENTENCES
        self._lines = Lines()

    def greeting(self) -> bytes:
        """Return the two sentences that such a receiver sends first."""
        return pmtk.sentence("PMTK011,MTKGPS") + pmtk.sentence("PMTK010,001")

    def hear(self, data: bytes) -> bytes:
        """Take PMTK sentences; answer each."""
        heard = [pmtk.fields(line) for line, _ in self._lines.feed(data, 0)]
        return b"".join(self._answer(*one) for one in heard if one and self._is_heard())

    def _answer(self, name: str, *values: str) -> bytes:
        number = name.removeprefix("PMTK")
        if number == pmtk.ASK_RELEASE:
            return pmtk.sentence(f"{pmtk.RELEASE},AXN_5.1.7_3333_19020118,0001,SIM-3333,1.0")
        if number == pmtk.SET_BAUD:
            self.baud = int(values[0]) or self._factory_baud
            return b""
        flag = "2" if self._refuses else self._set(number, values)
        return pmtk.command("001", number, flag)

    def _set(self, number: str, values: tuple[str, ...]) -> str:
        if number == pmtk.SET_RATE:
            self.period_ms = int(values[0])
        elif number == pmtk.SET_SENTENCES and len(values) == pmtk.PLACES:
            self.sentences = frozenset(
                _NAMES_BY_PLACE[place]
                for place, rate in enumerate(values)
                if rate != "0" and place in _NAMES_BY_PLACE
            )
        else:
            return "1"
        return pmtk.DONE


#: The makes, by name.
UNITS: Mapping[str, type[Unit]] = {"ublox": Ublox, "mediatek": MediaTek}
